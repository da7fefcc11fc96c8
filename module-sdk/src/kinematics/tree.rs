//! Frames put in order, and what must be true of them together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Drive, Frame, KinematicsError, Mechanism, Source, WORLD};

/// Longest row of joints that follow each other.
const MAX_FOLLOWED: usize = 64;

/// Puts the frames in order. `output` names the end; without it there must be exactly one leaf.
pub(super) fn assemble(name: String, frames: Vec<Frame>, output: Option<String>) -> Result<Mechanism, KinematicsError> {
    let (frames, parents) = ordered(frames)?;
    let index: BTreeMap<&str, usize> = frames
        .iter()
        .enumerate()
        .map(|(at, frame)| (frame.id.as_str(), at))
        .collect();
    let joints: Vec<usize> = frames
        .iter()
        .enumerate()
        .filter_map(|(at, frame)| frame.joint.as_ref().filter(|joint| joint.mimic.is_none()).map(|_| at))
        .collect();
    let drives = (0..frames.len())
        .map(|at| drive(&frames, &index, &joints, at))
        .collect::<Result<_, _>>()?;
    let end = match &output {
        Some(output) => Some(
            *index
                .get(output.as_str())
                .ok_or_else(|| KinematicsError::at("output_frames", format!("there is no frame `{output}`")))?,
        ),
        None => {
            let inner: BTreeSet<usize> = parents.iter().flatten().copied().collect();
            let mut leaves = (0..frames.len()).filter(|at| !inner.contains(at));
            let end = leaves.next();
            let others: Vec<_> = leaves.take(8).map(|at| format!("`{}`", frames[at].id)).collect();
            if let (Some(end), false) = (end, others.is_empty()) {
                return Err(KinematicsError::at(
                    "output_frames",
                    format!(
                        "the model has several ends, and none is named here: `{}`, {}",
                        frames[end].id,
                        others.join(", ")
                    ),
                ));
            }
            end
        }
    };
    Ok(Mechanism {
        name,
        parents,
        joints,
        drives,
        end,
        output_named: output.is_some(),
        frames,
        source: Source::default(),
    })
}

/// Sorts the frames breadth first from `world`, siblings by name, and returns where the parent of each is.
fn ordered(frames: Vec<Frame>) -> Result<(Vec<Frame>, Vec<Option<usize>>), KinematicsError> {
    let mut names = BTreeSet::new();
    for frame in &frames {
        let wrong = match frame.id.as_str() {
            "" => "a frame has no name".to_owned(),
            WORLD => "`world` is the name of the root, and no frame can have it".to_owned(),
            id if !names.insert(id) => "two frames have this name".to_owned(),
            _ => continue,
        };
        return Err(KinematicsError::at(place(&frame.id), wrong));
    }
    if let Some(frame) = frames
        .iter()
        .find(|frame| frame.parent != WORLD && !names.contains(frame.parent.as_str()))
    {
        return Err(KinematicsError::at(
            place(&frame.id),
            format!("its parent `{}` is no frame of the model", frame.parent),
        ));
    }
    drop(names);
    let mut children: BTreeMap<String, BTreeMap<String, Frame>> = BTreeMap::new();
    for frame in frames {
        children
            .entry(frame.parent.clone())
            .or_default()
            .insert(frame.id.clone(), frame);
    }
    let (mut sorted, mut parents) = (Vec::new(), Vec::new());
    let mut queue = VecDeque::from([(WORLD.to_owned(), None)]);
    while let Some((name, at)) = queue.pop_front() {
        for (id, frame) in children.remove(&name).unwrap_or_default() {
            queue.push_back((id, Some(sorted.len())));
            sorted.push(frame);
            parents.push(at);
        }
    }
    // What no way from the root leads to hangs on a circle, or is in one.
    if let Some(frame) = children.into_values().flat_map(BTreeMap::into_values).next() {
        return Err(KinematicsError::at(
            place(&frame.id),
            "it hangs on a circle of frames, not on `world`",
        ));
    }
    Ok((sorted, parents))
}

/// Finds the position that moves a frame, through all joints that it follows.
fn drive(
    frames: &[Frame],
    index: &BTreeMap<&str, usize>,
    joints: &[usize],
    mut at: usize,
) -> Result<Option<Drive>, KinematicsError> {
    let start = &frames[at].id;
    let (mut multiplier, mut offset) = (1.0, 0.0);
    for _ in 0..MAX_FOLLOWED {
        let Some(joint) = &frames[at].joint else {
            return Ok(None);
        };
        let Some(mimic) = &joint.mimic else {
            // Joints are in the order of frames.
            let position = joints.binary_search(&at).ok();
            return Ok(position.map(|position| Drive {
                position,
                multiplier,
                offset,
            }));
        };
        offset += multiplier * mimic.offset;
        multiplier *= mimic.multiplier;
        at = match index.get(mimic.joint.as_str()) {
            Some(other) if frames[*other].joint.is_some() => *other,
            _ => {
                return Err(KinematicsError::at(
                    place(&frames[at].id),
                    format!("it follows `{}`, which is no joint of the model", mimic.joint),
                ));
            }
        };
    }
    Err(KinematicsError::at(
        place(start),
        "it follows itself, or too many others",
    ))
}

fn place(id: &str) -> String {
    format!("frame `{id}`")
}
