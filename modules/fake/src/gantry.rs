//! Fake `rdk:component:gantry` of one axis, and fake `rdk:component:gripper`: both jump to where they are told.

use std::{path::Path, sync::Mutex};

use mainstay_module::{
    api::{
        gripper::{Grabbed, Holding},
        kinematics::Kinematics,
    },
    kinematics::Mechanism,
    prelude::*,
    spatial::Geometry,
};

/// Length of a gantry that nobody gave one, in millimetres.
const LENGTH_MM: f64 = 100.0;

/// Attributes of [`FakeGantry`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct GantryAttributes {
    /// Kinematics file, SVA or URDF, of one joint.
    pub model_path: String,
    /// Length of the axis, instead of a file.
    pub length_mm: Option<f64>,
}

/// Gantry of one axis.
#[derive(Debug)]
pub struct FakeGantry {
    name: String,
    model: Mechanism,
    length_mm: f64,
    position_mm: Mutex<f64>,
}

/// Attributes of [`FakeGripper`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct GripperAttributes {
    /// Kinematics file, SVA or URDF.
    #[serde(rename = "model-path")]
    pub model_path: String,
}

/// Gripper that never holds anything.
#[derive(Debug)]
pub struct FakeGripper {
    model: Option<Mechanism>,
    inputs: Mutex<Vec<f64>>,
}

/// Reads a kinematics file; the ending says which format it has.
pub(crate) fn model_at(path: &str) -> Result<Mechanism> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::invalid_argument(format_args!("cannot read the kinematics file `{path}`: {error}")))?;
    let ending = Path::new(path)
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let read = match ending {
        "json" => Mechanism::from_sva(bytes),
        "urdf" | "xml" => Mechanism::from_urdf(bytes, Default::default()),
        _ => {
            let text = format_args!("only files with .json and .urdf file extensions are supported, got `{path}`");
            return Err(Error::invalid_argument(text));
        }
    };
    read.map_err(|error| Error::invalid_argument(format_args!("`{path}`: {error}")))
}

impl GantryAttributes {
    fn model(&self) -> Result<Mechanism> {
        match (self.model_path.as_str(), self.length_mm) {
            ("", length) => Ok(Mechanism::gantry("gantry", length.unwrap_or(LENGTH_MM))?),
            (path, None) => match model_at(path)? {
                model if model.dof() == 1 => Ok(model),
                model => Err(Error::invalid_argument(format_args!(
                    "`{path}` has {} joints; a fake gantry has one",
                    model.dof()
                ))),
            },
            (_, Some(_)) => Err(Error::invalid_argument(
                "can only populate either model_path or length_mm - not both",
            )),
        }
    }
}

impl FromConfig for FakeGantry {
    type Attributes = GantryAttributes;

    fn validate(config: &Config<GantryAttributes>) -> Result<DependencySpec> {
        // What a file says may change before it is built.
        if config.attributes.model_path.is_empty() || config.attributes.length_mm.is_some() {
            config.attributes.model()?;
        }
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<GantryAttributes>, _: Dependencies) -> Result<Self> {
        let model = config.attributes.model()?;
        let length_mm = model.joints().next().map_or(0.0, |(_, joint)| joint.max);
        Ok(Self {
            name: config.name,
            model,
            length_mm,
            position_mm: Mutex::new(length_mm / 2.0),
        })
    }
}

#[async_trait]
impl Resource for FakeGantry {
    async fn geometries(&self, extra: &Object) -> Result<Option<Vec<Geometry>>> {
        let mut solids = self.model.geometries(&self.position(extra).await?)?;
        for solid in &mut solids {
            solid.label = format!("{}:{}", self.name, solid.label);
        }
        Ok(Some(solids))
    }
}

#[async_trait]
impl Gantry for FakeGantry {
    async fn position(&self, _: &Object) -> Result<Vec<f64>> {
        Ok(vec![*self.position_mm.lock().expect("nobody panics with it")])
    }

    async fn move_to_position(&self, positions_mm: &[f64], _: &[f64], _: &Object) -> Result<()> {
        let [position] = positions_mm else {
            return Err(Error::unknown(format_args!(
                "array length does not match frame DoF, expected 1 but got {}",
                positions_mm.len()
            )));
        };
        if !(0.0..=self.length_mm).contains(position) {
            let length = self.length_mm;
            return Err(Error::unknown(format_args!(
                "position {position} out of range [0, {length}]"
            )));
        }
        *self.position_mm.lock().expect("nobody panics with it") = *position;
        Ok(())
    }

    async fn home(&self, _: &Object) -> Result<bool> {
        Ok(true)
    }

    async fn lengths(&self, _: &Object) -> Result<Vec<f64>> {
        Ok(vec![self.length_mm])
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(false)
    }

    async fn kinematics(&self, _: bool, _: bool, _: &Object) -> Result<Kinematics> {
        Ok(self.model.to_kinematics())
    }
}

impl FromConfig for FakeGripper {
    type Attributes = GripperAttributes;

    async fn from_config(config: Config<GripperAttributes>, _: Dependencies) -> Result<Self> {
        let path = config.attributes.model_path;
        let model = if path.is_empty() { None } else { Some(model_at(&path)?) };
        let inputs = vec![0.0; model.as_ref().map_or(0, Mechanism::dof)];
        Ok(Self {
            model,
            inputs: Mutex::new(inputs),
        })
    }
}

impl FakeGripper {
    /// Moves each joint to one of its limits; one without stays.
    fn move_all(&self, limit: impl Fn(&mainstay_module::kinematics::Joint) -> f64) {
        let mut inputs = self.inputs.lock().expect("nobody panics with it");
        let joints = self.model.iter().flat_map(Mechanism::joints);
        for (input, (_, joint)) in inputs.iter_mut().zip(joints) {
            let limit = limit(joint);
            if limit.is_finite() {
                *input = limit;
            }
        }
    }
}

#[async_trait]
impl Resource for FakeGripper {
    async fn geometries(&self, _: &Object) -> Result<Option<Vec<Geometry>>> {
        let inputs = self.inputs.lock().expect("nobody panics with it").clone();
        // Without a model it is what its frame says.
        self.model.as_ref().map(|model| model.geometries(&inputs)).transpose()
    }
}

#[async_trait]
impl Gripper for FakeGripper {
    async fn open(&self, _: &Object) -> Result<()> {
        self.move_all(|joint| joint.max);
        Ok(())
    }

    async fn grab(&self, _: &Object) -> Result<Grabbed> {
        self.move_all(|joint| joint.min);
        Ok(Grabbed::default())
    }

    async fn is_holding_something(&self, _: &Object) -> Result<Holding> {
        Ok(Holding::default())
    }

    async fn current_inputs(&self, _: &Object) -> Result<Vec<f64>> {
        Ok(self.inputs.lock().expect("nobody panics with it").clone())
    }

    async fn go_to_inputs(&self, values: &[f64], _: &Object) -> Result<()> {
        let Some(model) = &self.model else { return Ok(()) };
        let mut inputs = self.inputs.lock().expect("nobody panics with it");
        model.check(Some(&inputs), values)?;
        *inputs = values.to_vec();
        Ok(())
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(false)
    }

    async fn kinematics(&self, _: bool, _: bool, _: &Object) -> Result<Kinematics> {
        Ok(self.model.as_ref().map(Mechanism::to_kinematics).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use mainstay_module::from_object;

    use super::*;

    async fn gantry(attributes: Object) -> Result<FakeGantry> {
        let config = Config::new("rail", from_object::<GantryAttributes>(attributes)?);
        FakeGantry::validate(&config)?;
        FakeGantry::from_config(config, Dependencies::none()).await
    }

    #[tokio::test]
    async fn a_gantry_jumps_within_its_length_and_refuses_all_else_unchanged() {
        let rail = gantry(object! { "length_mm" => 500 }).await.unwrap();
        assert_eq!(rail.position(NO_EXTRA).await.unwrap(), [250.0]);
        rail.move_to_position(&[10.0], &[-1.0, 2.0], NO_EXTRA).await.unwrap();
        for (positions, text) in [
            (&[][..], "array length does not match frame DoF, expected 1 but got 0"),
            (
                &[1.0, 2.0],
                "array length does not match frame DoF, expected 1 but got 2",
            ),
            (&[500.5], "position 500.5 out of range [0, 500]"),
        ] {
            let error = rail.move_to_position(positions, &[], NO_EXTRA).await.unwrap_err();
            assert_eq!(error.message(), text);
        }
        assert_eq!(rail.position(NO_EXTRA).await.unwrap(), [10.0]);
        let solids = rail.geometries(NO_EXTRA).await.unwrap().unwrap();
        assert_eq!(solids[0].label, "rail:carriage");
        assert!(
            rail.kinematics(false, false, NO_EXTRA)
                .await
                .unwrap()
                .file
                .starts_with(b"{")
        );
        let error = gantry(object! { "length_mm" => -1 }).await.unwrap_err();
        assert!(
            error.message().contains("length_mm must be positive, got -1"),
            "{error}"
        );
        assert!(
            gantry(object! { "length_mm" => 1, "model_path" => "x.json" })
                .await
                .is_err()
        );
        assert!(gantry(object! { "model_path" => "/nowhere.json" }).await.is_err());
    }

    #[tokio::test]
    async fn a_gripper_with_a_model_moves_to_its_limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hand.json");
        let file = r#"{"name": "hand", "joints": [{"id": "finger", "type": "prismatic", "parent": "world",
            "axis": {"x": 1, "y": 0, "z": 0}, "min": 2, "max": 40}]}"#;
        std::fs::write(&path, file).unwrap();
        let attributes = GripperAttributes {
            model_path: path.display().to_string(),
        };
        let hand = FakeGripper::from_config(Config::new("hand", attributes), Dependencies::none())
            .await
            .unwrap();
        hand.open(NO_EXTRA).await.unwrap();
        assert_eq!(hand.current_inputs(NO_EXTRA).await.unwrap(), [40.0]);
        assert!(!hand.grab(NO_EXTRA).await.unwrap().success);
        assert_eq!(hand.current_inputs(NO_EXTRA).await.unwrap(), [2.0]);
        assert!(hand.go_to_inputs(&[41.0], NO_EXTRA).await.is_err());
        assert_eq!(
            hand.kinematics(false, false, NO_EXTRA).await.unwrap().file,
            file.as_bytes()
        );

        let attributes = GripperAttributes::default();
        let plain = FakeGripper::from_config(Config::new("hand", attributes), Dependencies::none())
            .await
            .unwrap();
        plain.go_to_inputs(&[1.0, 2.0, 3.0], NO_EXTRA).await.unwrap();
        assert_eq!(plain.current_inputs(NO_EXTRA).await.unwrap(), [] as [f64; 0]);
        assert_eq!(
            plain.kinematics(true, true, NO_EXTRA).await.unwrap(),
            Kinematics::default()
        );
    }
}
