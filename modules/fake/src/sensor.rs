//! Fake `rdk:component:sensor`: three constant readings.

use mainstay_module::prelude::*;

/// Sensor whose readings are a = 1, b = 2, c = 3.
#[derive(Debug)]
pub struct FakeSensor;

impl Resource for FakeSensor {}

impl FromConfig for FakeSensor {
    type Attributes = ();

    async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> {
        Ok(Self)
    }
}

#[async_trait]
impl Sensor for FakeSensor {
    async fn readings(&self, _: &Object) -> Result<Object> {
        Ok(object! { "a" => 1, "b" => 2, "c" => 3 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readings_are_always_the_same() {
        let sensor = FakeSensor::from_config(Config::new("s", ()), Dependencies::none())
            .await
            .unwrap();
        let expected = object! { "a" => 1, "b" => 2, "c" => 3 };
        assert_eq!(sensor.readings(NO_EXTRA).await.unwrap(), expected);
        assert_eq!(sensor.status().await.unwrap(), Object::new());
        assert_eq!(
            sensor.do_command(Object::new()).await.unwrap_err().message(),
            "DoCommand unimplemented"
        );
    }
}
