//! The maintenance window: a sensor says whether a change may be applied now.

use std::collections::HashMap;
use std::time::Duration;

use mainstay_model::{Maintenance, Phase};
use mainstay_proto::ResourceName;
use mainstay_proto::frames::MAX_MESSAGE_LEN;
use mainstay_proto::viam::common::v1::{GetReadingsRequest, GetReadingsResponse};
use mainstay_proxy::upstream::Upstream;
use prost_types::Value;
use prost_types::value::Kind;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tracing::warn;

use crate::machine::view::View;

/// Limit for an answer of the sensor.
const PATIENCE: Duration = Duration::from_secs(5);
const METHOD: &str = "GetReadings";

/// Asks the sensor, as the machine of `view` has it, whether a change may be applied now.
///
/// # Errors
/// It may not, and why not.
pub async fn ask(view: &View, maintenance: &Maintenance) -> Result<(), String> {
    let sensor = &maintenance.sensor_name;
    let (path, name, upstream) = match find(view, sensor) {
        Ok(found) => found,
        Err(why) => {
            warn!("the maintenance sensor `{sensor}` is not asked, and the change is applied: {why}");
            return Ok(());
        }
    };
    let readings = tokio::time::timeout(PATIENCE, call(upstream, path, name)).await;
    let refused = |why: String| format!("the maintenance sensor `{sensor}` {why}");
    match readings {
        Ok(Ok(readings)) => judge(&readings, &maintenance.allowed_key).map_err(refused),
        Ok(Err(status)) => Err(refused(format!("cannot be asked: {}", status.message()))),
        Err(_elapsed) => Err(refused(format!("did not answer within {PATIENCE:?}"))),
    }
}

/// Verdict of the sensor's readings.
fn judge(readings: &HashMap<String, Value>, key: &str) -> Result<(), String> {
    match readings.get(key).map(|value| &value.kind) {
        Some(Some(Kind::BoolValue(true))) => Ok(()),
        Some(Some(Kind::BoolValue(false))) => Err(format!("does not allow it now: its reading `{key}` is false")),
        Some(_) => Err(format!(
            "does not allow it: its reading `{key}` is neither true nor false"
        )),
        None => {
            let mut known: Vec<_> = readings.keys().map(String::as_str).collect();
            known.sort_unstable();
            let known = known.join(", ");
            Err(format!("does not allow it: it has no reading `{key}`; it has: {known}"))
        }
    }
}

/// The path of its method, its short name, and its module. Without a sensor that is at work nothing is held up.
fn find(view: &View, sensor: &str) -> Result<(String, String, Upstream), String> {
    let name: ResourceName = sensor.parse().map_err(|error| format!("{error}"))?;
    let service = view.table.service_of(&name.api);
    let service = service.filter(|service| view.table.shape(service, METHOD).is_some_and(|shape| !shape.unknown));
    let service = service.ok_or_else(|| format!("{} has no readings", name.api))?;
    let resource = view.resources.iter().find(|resource| resource.name == name);
    let state = resource.ok_or("the machine has no such resource")?.state();
    if state.phase != Phase::Ready {
        let why = state.error.as_deref().unwrap_or("it is not ready");
        return Err(why.to_owned());
    }
    let to = view.table.lookup(service, METHOD, &name.name);
    let upstream = to.map_err(|error| error.to_string())?.upstream;
    Ok((format!("/{service}/{METHOD}"), name.name, upstream))
}

async fn call(upstream: Upstream, path: String, name: String) -> Result<HashMap<String, Value>, Status> {
    let path = path
        .parse()
        .map_err(|error| Status::internal(format!("`{path}` is no path: {error}")))?;
    let mut request = Request::new(GetReadingsRequest { name, extra: None });
    request.set_timeout(PATIENCE);
    let mut client = tonic::client::Grpc::new(upstream).max_decoding_message_size(MAX_MESSAGE_LEN);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<_, GetReadingsResponse>::default();
    let answer = client.unary(request, path, codec).await?;
    Ok(answer.into_inner().readings.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reading_that_is_true_allows_it() {
        for (kind, expected) in [
            (Some(Kind::BoolValue(true)), Ok(())),
            (Some(Kind::BoolValue(false)), Err("reading `ok` is false")),
            (Some(Kind::NumberValue(1.0)), Err("neither true nor false")),
            (Some(Kind::StringValue("true".into())), Err("neither true nor false")),
            (None, Err("neither true nor false")),
        ] {
            let readings = HashMap::from([("ok".to_owned(), Value { kind: kind.clone() })]);
            match (judge(&readings, "ok"), expected) {
                (Ok(()), Ok(())) => {}
                (Err(told), Err(part)) => assert!(told.contains(part), "{told}"),
                (told, _) => panic!("{kind:?}: {told:?}"),
            }
        }
        let told = judge(&HashMap::from([("busy".to_owned(), Value::default())]), "ok");
        assert!(told.is_err_and(|told| told.ends_with("no reading `ok`; it has: busy")));
    }

    #[test]
    fn without_a_sensor_that_is_there_nothing_is_held_up() {
        let view = View::default();
        for (sensor, expected) in [
            ("idle", "idle"),
            ("rdk:component:motor/idle", "has no readings"),
            ("rdk:component:sensor/idle", "no such resource"),
        ] {
            let why = find(&view, sensor).map(|(path, ..)| path).expect_err(sensor);
            assert!(why.contains(expected), "{why}");
        }
    }
}
