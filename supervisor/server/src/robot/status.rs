//! The view of the machine in the words of the robot protocol.

use std::time::SystemTime;

use mainstay_model::Phase;
use mainstay_proto::viam::common::v1::ResourceName;
use mainstay_proto::viam::robot::v1::get_machine_status_response::State;
use mainstay_proto::viam::robot::v1::{
    ConfigStatus, GetCloudMetadataResponse, GetMachineStatusResponse, JobStatus, ModuleModel, ModuleStatus,
    ResourceRpcSubtype, ResourceStatus, resource_status::Reachability,
};
use mainstay_proxy::resource::Resource;
use mainstay_runtime::machine::view::View;
use mainstay_runtime::module::entry::ModuleEntry;
use mainstay_runtime::remote::RemoteEntry;
use mainstay_runtime::wall_clock::shown;
use prost_types::Timestamp;

use crate::jobs::JobRuns;

/// Every resource that can be used now, in config order.
pub fn resource_names(view: &View) -> Vec<ResourceName> {
    let listed = |resource: &&std::sync::Arc<Resource>| resource.state().phase == Phase::Ready;
    view.resources
        .iter()
        .filter(listed)
        .map(|resource| (&resource.name).into())
        .collect()
}

/// Every API that some resource has, ready or not, with its gRPC service.
pub fn rpc_subtypes(view: &View) -> Vec<ResourceRpcSubtype> {
    let mut rows: Vec<ResourceRpcSubtype> = Vec::new();
    for resource in view.resources.iter() {
        let Some(service) = view.table.service_of(&resource.name.api) else {
            continue;
        };
        if rows.iter().all(|row| row.proto_service != service) {
            let mut subtype = ResourceName::from(&resource.name);
            subtype.name.clear();
            rows.push(ResourceRpcSubtype {
                subtype: Some(subtype),
                proto_service: service.to_owned(),
            });
        }
    }
    rows
}

/// Every model that a configured module offers.
pub fn models(view: &View) -> Vec<ModuleModel> {
    let configured = view.modules.iter().filter(|entry| !entry.name.is_builtin());
    let models = configured.flat_map(|entry| {
        let rows: Vec<_> = entry
            .handlers()
            .iter()
            .flat_map(|handler| {
                handler.models.iter().map(|model| ModuleModel {
                    module_name: entry.name.to_string(),
                    model: model.to_string(),
                    api: handler.api.to_string(),
                    from_local_module: entry.local,
                })
            })
            .collect();
        rows
    });
    models.collect()
}

/// Which machine of the cloud this is, by its config; `None` without a `cloud` section.
pub fn cloud_metadata(view: &View) -> Option<GetCloudMetadataResponse> {
    let cloud = view.config.cloud.as_ref()?;
    Some(GetCloudMetadataResponse {
        primary_org_id: cloud.primary_org_id.clone(),
        location_id: cloud.location_id.clone(),
        machine_id: cloud.machine_id.clone(),
        machine_part_id: cloud.id.clone(),
    })
}

/// The whole machine.
pub fn machine_status(view: &View, jobs: Vec<JobRuns>) -> GetMachineStatusResponse {
    let cloud = &cloud_metadata(view).unwrap_or_default();
    let rejected = view.rejected.iter().map(|rejected| ResourceStatus {
        name: Some((&rejected.name).into()),
        state: Phase::Unhealthy as i32,
        last_updated: view.config_time.map(timestamp),
        revision: String::new(),
        error: format!("resource config validation error: {}", rejected.error),
        cloud_metadata: Some(cloud.clone()),
        reachability: Reachability::Reachable.into(),
        remote: None,
    });
    GetMachineStatusResponse {
        resources: view
            .resources
            .iter()
            .map(|resource| resource_status(resource, cloud))
            .chain(view.remotes.iter().map(|remote| remote_status(remote, cloud)))
            .chain(rejected)
            .collect(),
        config: Some(ConfigStatus {
            revision: view.revision.to_string(),
            last_updated: view.config_time.map(timestamp),
        }),
        state: if view.running {
            State::Running
        } else {
            State::Initializing
        }
        .into(),
        job_statuses: jobs.into_iter().map(job_status).collect(),
        modules: view.modules.iter().map(|entry| module_status(entry)).collect(),
        packages: Vec::new(),
    }
}

fn job_status(runs: JobRuns) -> JobStatus {
    let times = |times: Vec<SystemTime>| times.into_iter().map(timestamp).collect();
    JobStatus {
        job_name: runs.name,
        recent_successful_runs: times(runs.succeeded),
        recent_failed_runs: times(runs.failed),
    }
}

fn resource_status(resource: &Resource, cloud: &GetCloudMetadataResponse) -> ResourceStatus {
    let state = resource.state();
    // Peers expect a text with UNHEALTHY alone; what a waiting resource waits for stands in our own status.
    let error = state.for_callers().filter(|_| state.phase == Phase::Unhealthy);
    ResourceStatus {
        name: Some((&resource.name).into()),
        state: state.phase as i32,
        last_updated: Some(timestamp(state.since)),
        revision: state.revision.to_string(),
        error: error.unwrap_or_default().to_owned(),
        // What another machine has belongs to that one, which tells here nothing of it.
        cloud_metadata: Some(match resource.origin {
            Some(_) => GetCloudMetadataResponse::default(),
            None => cloud.clone(),
        }),
        reachability: match &resource.origin {
            Some(_) if state.upstream.is_none() => Reachability::RemoteDisconnected,
            _ => Reachability::Reachable,
        }
        .into(),
        remote: resource.origin.as_ref().map(|origin| origin.remote.to_string()),
    }
}

/// A remote itself, as peers list it: neither component nor service.
fn remote_status(entry: &RemoteEntry, cloud: &GetCloudMetadataResponse) -> ResourceStatus {
    let state = entry.state();
    let phase = if state.cause.is_some() {
        Phase::Unhealthy
    } else {
        Phase::Ready
    };
    ResourceStatus {
        name: Some(ResourceName {
            namespace: "rdk".to_owned(),
            r#type: "remote".to_owned(),
            subtype: String::new(),
            name: entry.name.clone(),
        }),
        state: phase as i32,
        last_updated: Some(timestamp(state.since)),
        revision: String::new(),
        error: state.cause.as_deref().unwrap_or_default().to_owned(),
        cloud_metadata: Some(cloud.clone()),
        reachability: match state.cause {
            Some(_) => Reachability::RemoteDisconnected,
            None => Reachability::Reachable,
        }
        .into(),
        remote: None,
    }
}

fn module_status(entry: &ModuleEntry) -> ModuleStatus {
    let state = entry.state();
    ModuleStatus {
        module_name: entry.name.to_string(),
        state: state.phase.wire(),
        last_updated: Some(timestamp(shown(state.since))),
        error: state.error.as_deref().unwrap_or_default().to_owned(),
        consecutive_failures: state.consecutive_failures,
    }
}

/// A moment in the form of the wire.
pub fn timestamp(time: SystemTime) -> Timestamp {
    time.into()
}
