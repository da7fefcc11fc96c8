//! Descriptors as they are known at run time: the files of a service, and the pool of types made of them.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_proto::descriptors;
use prost::Message as _;
use prost_reflect::{DescriptorError, DescriptorPool};
use prost_types::FileDescriptorProto;

/// Files by the names under which they import each other.
pub type Files = BTreeMap<String, FileDescriptorProto>;

/// The files of one of the APIs that every machine speaks, with all that they import.
pub fn built_in(symbol: &str) -> Option<Files> {
    let mut files = Files::new();
    let mut wanted = vec![descriptors::file_of(symbol)?];
    while let Some(file) = wanted.pop() {
        if files.contains_key(file.name) {
            continue;
        }
        files.insert(file.name.to_owned(), FileDescriptorProto::decode(file.bytes).ok()?);
        wanted.extend(file.imports.iter().filter_map(|name| descriptors::file(name)));
    }
    Some(files)
}

/// Google's own files, which the pool brings along; another copy of one would collide with it.
pub fn is_well_known(name: &str) -> bool {
    DescriptorPool::global().get_file_by_name(name).is_some()
}

/// The types of these files. An import that is not among them may hold nothing but options; it is done without.
///
/// # Errors
/// The files make no sense together.
pub fn pool(files: Files) -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::global();
    add(&mut pool, files)?;
    Ok(pool)
}

/// Adds the types of files that are not there yet.
///
/// # Errors
/// As [`pool`]; nothing is added.
pub fn add(pool: &mut DescriptorPool, files: Files) -> Result<(), DescriptorError> {
    let mut known: BTreeSet<String> = pool.files().map(|file| file.name().to_owned()).collect();
    let new: Vec<_> = files
        .into_values()
        .filter(|file| !known.contains(file.name()))
        .collect();
    known.extend(new.iter().map(|file| file.name().to_owned()));
    let files = new.into_iter().map(|mut file| {
        let kept = |name: &String| known.contains(name);
        // The import lists of public and weak ones count positions, so they do not survive a removal.
        if !file.dependency.iter().all(kept) {
            file.public_dependency.clear();
            file.weak_dependency.clear();
            file.dependency.retain(kept);
        }
        file
    });
    pool.add_file_descriptor_protos(files)
}

#[cfg(test)]
mod tests {
    use prost_types::{DescriptorProto, FieldDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;

    /// `test.proto` with one service that uses `google.protobuf.Struct`, and these imports.
    fn file(imports: &[&str]) -> FileDescriptorProto {
        let field = FieldDescriptorProto {
            name: Some("extra".into()),
            number: Some(1),
            r#type: Some(11),
            label: Some(1),
            type_name: Some(".google.protobuf.Struct".into()),
            ..FieldDescriptorProto::default()
        };
        let method = MethodDescriptorProto {
            name: Some("Do".into()),
            input_type: Some(".test.Request".into()),
            output_type: Some(".test.Request".into()),
            ..MethodDescriptorProto::default()
        };
        FileDescriptorProto {
            name: Some("test.proto".into()),
            package: Some("test".into()),
            syntax: Some("proto3".into()),
            dependency: imports.iter().map(|name| (*name).to_owned()).collect(),
            message_type: vec![DescriptorProto {
                name: Some("Request".into()),
                field: vec![field],
                ..DescriptorProto::default()
            }],
            service: vec![ServiceDescriptorProto {
                name: Some("Service".into()),
                method: vec![method],
                ..ServiceDescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        }
    }

    #[test]
    fn an_import_that_nobody_has_is_done_without() {
        let file = file(&["google/protobuf/struct.proto", "tagger/v1/tagger.proto"]);
        let pool = pool(Files::from([("test.proto".to_owned(), file)])).expect("only options were missing");
        assert!(pool.get_service_by_name("test.Service").is_some());
    }

    #[test]
    fn a_second_copy_of_a_well_known_file_does_not_collide() {
        let mut copy = FileDescriptorProto {
            name: Some("google/protobuf/struct.proto".into()),
            ..FileDescriptorProto::default()
        };
        copy.package = Some("somewhere.else".into());
        let file = file(&["google/protobuf/struct.proto"]);
        let files = Files::from([
            ("test.proto".to_owned(), file),
            ("google/protobuf/struct.proto".to_owned(), copy),
        ]);
        assert!(pool(files).is_ok());
    }

    #[test]
    fn the_apis_that_every_machine_speaks_are_known_without_asking() {
        let name = "viam.component.motor.v1.MotorService";
        let pool = pool(built_in(name).expect("ours")).expect("complete");
        assert!(pool.get_service_by_name(name).is_some());
        assert!(built_in("acme.v1.NobodyService").is_none());
    }
}
