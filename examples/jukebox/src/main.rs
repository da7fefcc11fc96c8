//! The jukebox as a module program.

fn main() -> std::process::ExitCode {
    mainstay_module::run(jukebox::module())
}
