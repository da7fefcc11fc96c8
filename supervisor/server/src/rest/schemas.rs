//! Types of requests and answers, made from the descriptors when a service is first asked for.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use mainstay_proto::custom;
use mainstay_proto::custom::ReflectedFile;
use mainstay_wire::descriptors::{Files, add, built_in, pool};
use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::FileDescriptorProto;
use tonic::Status;

use super::routes::Route;

/// Modules whose types are kept, the one asked for last at the end.
const KEPT: usize = 4;

/// Types that were asked for.
#[derive(Debug, Default)]
pub struct Schemas {
    /// Those of our own files: services share much, so they share a pool. All together it is 4 MB.
    ours: Mutex<DescriptorPool>,
    theirs: Mutex<Vec<ModuleTypes>>,
}

/// Types of one module.
#[derive(Debug)]
struct ModuleTypes {
    /// Files that they were made from.
    files: Weak<custom::DescriptorPool>,
    types: DescriptorPool,
}

impl Schemas {
    /// The method of a route, with the types of its messages.
    ///
    /// # Errors
    /// The descriptors of its module make no sense.
    pub fn method(&self, route: &Route) -> Result<MethodDescriptor, Status> {
        let types = match &route.module {
            None => self.ours(&route.binding.service),
            Some(files) => self.theirs(files),
        };
        let senseless = |why: &dyn std::fmt::Display| {
            let service = &route.binding.service;
            Status::internal(format!(
                "the descriptors of {service} make no sense: {why}; it can be called by gRPC"
            ))
        };
        let service = types
            .map_err(|error| senseless(&error))?
            .get_service_by_name(&route.binding.service);
        let method = service.and_then(|service| service.methods().find(|method| method.name() == route.binding.method));
        method.ok_or_else(|| senseless(&"they do not have the method"))
    }

    fn ours(&self, service: &str) -> Result<DescriptorPool, Error> {
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        if ours.get_service_by_name(service).is_none() {
            add(&mut ours, built_in(service).unwrap_or_default())?;
        }
        Ok(ours.clone())
    }

    fn theirs(&self, files: &Arc<custom::DescriptorPool>) -> Result<DescriptorPool, Error> {
        let mut theirs = self.theirs.lock().unwrap_or_else(PoisonError::into_inner);
        // What a module said before it was changed is of no use any more.
        theirs.retain(|module| module.files.strong_count() > 0);
        let kept = theirs
            .iter()
            .position(|module| module.files.as_ptr() == Arc::as_ptr(files));
        let module = match kept {
            Some(at) => theirs.remove(at),
            None => ModuleTypes {
                files: Arc::downgrade(files),
                types: pool(decoded(files)?)?,
            },
        };
        if theirs.len() >= KEPT {
            theirs.remove(0);
        }
        let types = module.types.clone();
        theirs.push(module);
        Ok(types)
    }
}

/// Error of descriptors.
type Error = Box<dyn std::error::Error>;

fn decoded(files: &custom::DescriptorPool) -> Result<Files, prost::DecodeError> {
    let decode = |file: &ReflectedFile| Ok((file.name.clone(), FileDescriptorProto::decode(file.bytes.clone())?));
    files.values().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use mainstay_proto::http_rules;

    use super::*;
    use crate::rest::routes;

    #[test]
    fn every_route_has_its_types() {
        let schemas = Schemas::default();
        for binding in http_rules::all() {
            let Some(template) = binding.path.strip_prefix("/viam") else {
                continue;
            };
            let verb = Method::from_bytes(binding.verb.as_bytes()).expect("a method");
            let route = routes::find(&[], &verb, &template.replace(['{', '}'], "")).expect("a route");
            let method = schemas.method(&route).expect("known");
            assert_eq!(method.name(), binding.method);
            assert!(method.input().fields().len() > 0 || route.fields.is_empty());
            for (field, _) in &route.fields {
                assert!(method.input().get_field_by_name(field).is_some(), "{binding:?}");
            }
        }
    }
}
