//! The `.proto` files as encoded descriptors, for reflection. They lie in the binary as they are: nothing is decoded or
//! built at start, and a file costs no memory until someone asks for it.
//!
//! The private package of the command line is left out; the well-known types that others import are in.

use crate::tables;

/// One `.proto` file.
#[derive(Debug)]
pub struct File {
    /// Path as imports write it, for example `component/motor/v1/motor.proto`.
    pub name: &'static str,
    /// An encoded `google.protobuf.FileDescriptorProto` without comments.
    pub bytes: &'static [u8],
    /// Paths of the files that it imports; [`file()`] finds each.
    pub imports: &'static [&'static str],
}

/// The file of this path.
pub fn file(name: &str) -> Option<&'static File> {
    let index = tables::FILES.binary_search_by(|file| file.name.cmp(name)).ok()?;
    Some(&tables::FILES[index])
}

/// The file that declares a message, an enum, a service, a method or an extension, given by its full name without a
/// leading dot.
pub fn file_of(symbol: &str) -> Option<&'static File> {
    let index = tables::SYMBOLS.binary_search_by(|(name, _)| (*name).cmp(symbol)).ok()?;
    Some(&tables::FILES[usize::from(tables::SYMBOLS[index].1)])
}

/// Every file, sorted by path.
pub fn files() -> &'static [File] {
    &tables::FILES
}

/// Full names of all services that are declared, sorted. Which of them a machine serves is for its server to say.
pub fn services() -> impl Iterator<Item = &'static str> {
    tables::SERVICES.iter().map(|service| service.name)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorProto;

    use super::*;

    #[test]
    fn each_file_is_the_one_its_name_says_and_its_imports_are_there() {
        for entry in files() {
            let decoded = FileDescriptorProto::decode(entry.bytes).unwrap();
            assert_eq!(
                (decoded.name(), &decoded.dependency[..]),
                (
                    entry.name,
                    &entry.imports.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..]
                )
            );
            assert!(entry.imports.iter().all(|import| file(import).is_some()), "{entry:?}");
            assert!(decoded.source_code_info.is_none(), "{}", entry.name);
        }
    }

    #[test]
    fn a_symbol_leads_to_its_file() {
        let cases = [
            (
                "viam.component.motor.v1.MotorService",
                Some("component/motor/v1/motor.proto"),
            ),
            (
                "viam.component.motor.v1.MotorService.SetPower",
                Some("component/motor/v1/motor.proto"),
            ),
            ("viam.robot.v1.ResourceStatus.State", Some("robot/v1/robot.proto")),
            (
                "viam.common.v1.safety_heartbeat_monitored",
                Some("common/v1/common.proto"),
            ),
            ("google.protobuf.Struct", Some("google/protobuf/struct.proto")),
            ("viam.component.motor.v1", None),
            ("", None),
        ];
        for (symbol, name) in cases {
            assert_eq!(file_of(symbol).map(|file| file.name), name, "{symbol}");
        }
        for name in services() {
            assert!(file_of(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_private_package_is_not_shown() {
        assert!(services().all(|name| !name.starts_with("mainstay.")));
        assert!(files().iter().all(|file| !file.name.starts_with("mainstay/")));
        assert_eq!(
            file_of("mainstay.control.v1.ControlService").map(|file| file.name),
            None
        );
    }
}
