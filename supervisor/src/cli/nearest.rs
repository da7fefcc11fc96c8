//! "Did you mean": the names nearest to a mistyped one.

/// Up to three candidates that differ from `wanted` by little (about one slip in three letters), nearest first.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let most = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= most || (wanted.len() > 2 && candidate.to_lowercase().contains(&wanted))
        })
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// How many letters must be added, removed or replaced, or neighbours swapped, to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_forgiven_and_a_stranger_is_not_offered() {
        let cases: [(&str, &[&str]); 5] = [
            ("mtor", &["motor"]),
            ("motro", &["motor"]),
            ("Motor", &["motor"]),
            ("mot", &["motor", "left-motor"]),
            ("camera", &[]),
        ];
        for (wanted, near) in cases {
            assert_eq!(nearest(wanted, ["left-motor", "motor", "arm"]), near, "{wanted}");
        }
    }
}
