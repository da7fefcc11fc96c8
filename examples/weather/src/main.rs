//! Weather station: a minimal sensor module. To try it, add to a machine's configuration:
//!
//! ```yaml
//! modules:
//!   - { name: weather, type: local, executable_path: ~/mainstay/target/debug/weather }
//! components:
//!   - { name: roof, api: rdk:component:sensor, model: acme:weather:station, attributes: { celsius: 19.5 } }
//! ```

use mainstay_module::prelude::*;

#[derive(Deserialize)]
struct Attributes {
    /// Temperature at start, in degrees Celsius.
    celsius: f64,
}

struct Station {
    celsius: f64,
    started: std::time::Instant,
}

impl Resource for Station {}

impl FromConfig for Station {
    type Attributes = Attributes;
    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        Ok(Self {
            celsius: config.attributes.celsius,
            started: std::time::Instant::now(),
        })
    }
}

#[async_trait]
impl Sensor for Station {
    async fn readings(&self, _extra: &Object) -> Result<Object> {
        let seconds = self.started.elapsed().as_secs_f64();
        Ok(object! { "celsius" => self.celsius + seconds.sin(), "seconds" => seconds })
    }
}

fn main() -> std::process::ExitCode {
    run(Module::new().model::<dyn Sensor, Station>("acme:weather:station"))
}
