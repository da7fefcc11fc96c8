//! Module program of the jukebox.

fn main() -> std::process::ExitCode {
    mainstay_module::run(jukebox::module())
}
