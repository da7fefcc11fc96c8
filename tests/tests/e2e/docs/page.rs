//! One page, run from top to bottom in a folder of its own.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use mainstay_tests::markdown::{Block, blocks};
use mainstay_tests::status::Snapshot;
use mainstay_tests::transcript::{self, commands, matches};
use mainstay_tests::world::{Place, World};
use mainstay_tests::{bins, python};

/// Address of the machines in the pages. A free port stands in for it.
const ADDRESS: &str = "127.0.0.1:8080";
/// Folder of the repository as README has it.
const CLONE: &str = "\"../mainstay/";
/// Longest time for what a page lets one do; a first build of a module takes minutes.
const PATIENCE: Duration = Duration::from_secs(900);
/// Timeout for a machine to show what the page says.
const SETTLING: Duration = Duration::from_secs(10);
/// Verbs that only look. They are asked again, because a reader is slower than this test.
const LOOKS: [&str; 6] = ["status", "events", "explain", "logs", "graph", "diff"];
/// Programs whose commands may be marked `not-run`.
const NOT_RUN: [&str; 5] = ["adduser ", "apt ", "cargo ", "install ", "systemctl "];

/// Counts of the blocks of a page that were run.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub configs: usize,
    pub commands: usize,
    pub files: usize,
}

impl Counts {
    pub const fn new(configs: usize, commands: usize, files: usize) -> Self {
        Self {
            configs,
            commands,
            files,
        }
    }

    pub fn at_least(&self, least: &Self) -> bool {
        self.configs >= least.configs && self.commands >= least.commands && self.files >= least.files
    }
}

/// The top folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("")
}

/// Links of a page to files of the repository that are not there, with their lines.
pub fn broken_links(name: &str) -> Vec<String> {
    let path = repository().join(name);
    let text = fs::read_to_string(&path).expect("the page is there");
    let links = text.lines().zip(1..).flat_map(|(line, number)| {
        let links = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next());
        links.map(move |link| (link, number)).collect::<Vec<_>>()
    });
    links
        .filter(|(link, _)| !link.is_empty() && !link.contains("://"))
        .filter(|(link, _)| !path.with_file_name(link).exists())
        .map(|(link, number)| format!("{name}:{number}: there is no {link}"))
        .collect()
}

/// A page.
pub struct Page {
    name: String,
    blocks: Vec<Block>,
    /// The folder in which it is followed, while no machine runs there.
    place: Option<Place>,
    world: Option<World>,
    /// The last whole config, by its file.
    config: Option<String>,
    counts: Counts,
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(repository().join(name)).expect("the page is there");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let text = text.replace(ADDRESS, &free.expect("a free port").to_string());
        let blocks = blocks(&text).unwrap_or_else(|error| panic!("{name}:{error}"));
        Self {
            name: name.to_owned(),
            blocks,
            place: Some(place()),
            world: None,
            config: None,
            counts: Counts::default(),
        }
    }

    /// Does all that the page says, in its order; at the end all configs are checked, with what they name in place.
    pub async fn run(mut self) -> Counts {
        let blocks = std::mem::take(&mut self.blocks);
        for block in &blocks {
            match block.language.as_str() {
                "console" if block.is("not-run") => self.leave(block),
                "console" => self.console(block).await,
                "yaml" => self.write_config(block),
                "json" | "toml" | "rust" | "proto" | "python" | "sh" => self.write_file(block),
                "text" => {}
                other => self.fail(
                    block.line,
                    &format!("a block of the kind `{other}`, which no test runs"),
                ),
            }
        }
        for block in &blocks {
            let config = block.language == "yaml" || block.language == "json" && block.file().is_none();
            if config {
                self.check(block).await;
            }
        }
        if let Some(world) = self.world.take() {
            world.shutdown().await.left_nothing_behind();
        }
        self.counts
    }

    fn place(&self) -> &Place {
        let running = self.world.as_ref().map(|world| &world.place);
        running.or(self.place.as_ref()).expect("one of the two")
    }

    fn fail(&self, line: usize, what: &str) -> ! {
        panic!("{}:{line}: {what}", self.name)
    }

    fn leave(&self, block: &Block) {
        let told = commands(&block.text, block.line).unwrap_or_else(|error| panic!("{}:{error}", self.name));
        for one in told {
            if !NOT_RUN.iter().any(|word| one.command.starts_with(word)) {
                self.fail(one.line, "there is no reason not to run this");
            }
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.place().file(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the temporary folder is writable");
        fs::write(path, text).expect("the temporary folder is writable");
    }

    fn write_config(&mut self, block: &Block) {
        if let Some(name) = block.file() {
            self.write(name, &block.text);
            if !block.is("faulty") {
                self.config = Some(name.to_owned());
            }
        }
    }

    fn write_file(&mut self, block: &Block) {
        let Some(name) = block.file() else {
            match block.language.as_str() {
                "json" => return, // A config.
                _ => self.fail(block.line, "its first comment does not say which file this is"),
            }
        };
        let clone = format!("\"{}/", repository().display());
        self.write(name, &block.text.replace(CLONE, &clone));
        if name == "Cargo.toml" {
            // The versions that the repository was tested with, so that nothing is fetched.
            fs::copy(repository().join("Cargo.lock"), self.place().file("Cargo.lock")).expect("it can be copied");
        }
        self.counts.files += 1;
    }

    async fn check(&mut self, block: &Block) {
        let name = format!("block-{}.{}", block.line, block.language);
        self.write(&name, &block.text);
        let mut file = name.clone();
        if block.is("fragment") {
            for program in block.text.split("executable_path: ").skip(1) {
                let end = program.find([',', '}', '\n']).unwrap_or(program.len());
                self.write(&program[..end], "#!/bin/sh\n");
                let path = self.place().file(&program[..end]);
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
            }
            let before = self.fragment_base(block);
            let files: Vec<String> = before.into_iter().chain([name]).collect();
            file = format!("whole-{}.yaml", block.line);
            self.write(&file, &format!("include: [{}]\n", files.join(", ")));
        }
        let checked = self.place().mainstay(&["check", &file]).await;
        let good = checked.code == 0 && checked.stdout.contains("is good");
        match block.is("faulty") {
            true if checked.code == 0 => self.fail(block.line, "`mainstay check` has no complaint about this"),
            false if !good => self.fail(block.line, &format!("this config is not good:\n{}", checked.stdout)),
            _ => self.counts.configs += 1,
        }
    }

    /// The config that a fragment belongs to: the last whole one before it.
    fn fragment_base(&self, block: &Block) -> Option<String> {
        let text = fs::read_to_string(repository().join(&self.name)).expect("the page is there");
        let blocks = blocks(&text).expect("it was whole before");
        let before = blocks.iter().filter(|other| other.line < block.line);
        let mut whole = before.filter(|other| other.language == "yaml" && other.words.is_empty());
        whole.next_back().map(|whole| format!("block-{}.yaml", whole.line))
    }

    async fn console(&mut self, block: &Block) {
        let told = commands(&block.text, block.line).unwrap_or_else(|error| panic!("{}:{error}", self.name));
        let last = told.len();
        for (number, one) in told.iter().enumerate() {
            let fails = block.is("fails") && number + 1 == last;
            match one.command.strip_prefix("mainstay run ") {
                Some(config) if !config.contains(' ') => self.start(config, one).await,
                _ => self.command(one, fails).await,
            }
            self.counts.commands += 1;
        }
    }

    /// Starts the machine, after the one before was stopped.
    async fn start(&mut self, config: &str, told: &transcript::Command) {
        if let Some(mut before) = self.world.take() {
            before.stop_core().await;
            self.place = Some(std::mem::take(&mut before.place));
        }
        let place = self.place.take().expect("no machine runs");
        let Ok(content) = fs::read_to_string(place.file(config)) else {
            self.place = Some(place);
            self.fail(told.line, &format!("no block before this is the file {config}"));
        };
        let mut world = place.start_text(config, &content).await;
        world.until(Snapshot::running).await;
        let out = world.place.file("out.log");
        self.world = Some(world);
        if told.expected.is_empty() {
            return;
        }
        let end = Instant::now() + SETTLING;
        loop {
            let printed = fs::read_to_string(&out).unwrap_or_default();
            if matches(&told.expected, &printed) {
                return;
            }
            if Instant::now() > end {
                self.differs(told, &printed);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn command(&self, told: &transcript::Command, fails: bool) {
        let looks = LOOKS
            .iter()
            .any(|verb| told.command.starts_with(&format!("mainstay {verb}")));
        let end = Instant::now() + SETTLING;
        loop {
            let (code, printed) = self.shell(told).await;
            let good = (code != 0) == fails;
            if good && (told.expected.is_empty() || matches(&told.expected, &printed)) {
                return;
            }
            if !looks || Instant::now() > end {
                if !good {
                    self.fail(told.line, &format!("`{}` ended with {code}:\n{printed}", told.command));
                }
                self.differs(told, &printed);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn differs(&self, told: &transcript::Command, printed: &str) -> ! {
        let transcript::Command {
            line,
            command,
            expected,
        } = told;
        self.fail(
            *line,
            &format!("`{command}` prints\n{printed}\nand the page says\n{expected}"),
        )
    }

    async fn shell(&self, told: &transcript::Command) -> (i32, String) {
        // A build must not take the processors away from tests that measure.
        let nice = if told.command.starts_with("cargo") { "10" } else { "0" };
        let mut command = self.place().command(Path::new("nice"));
        command.args(["-n", nice, "/bin/sh", "-c", &told.command]);
        output(command)
            .await
            .unwrap_or_else(|error| self.fail(told.line, &error))
    }
}

/// A folder in which a reader has installed everything.
fn place() -> Place {
    let path = env::var_os("PATH").unwrap_or_default();
    let interpreter = python::interpreter();
    bins::mainstay();
    let folders = [bins::folder(), interpreter.parent().expect("bin/").to_owned()];
    let path = env::join_paths(folders.into_iter().chain(env::split_paths(&path))).expect("usual paths");
    let home = env::home_dir().expect("cargo has a home");
    let or_home = |name: &str, below: &str| {
        let given = env::var_os(name).map(PathBuf::from);
        given.unwrap_or_else(|| home.join(below)).display().to_string()
    };
    let environment = interpreter.parent().and_then(Path::parent).expect("of the tests");
    let packages = fs::read_dir(environment.join("lib")).expect("lib/").flatten();
    let packages: Vec<PathBuf> = packages.map(|version| version.path().join("site-packages")).collect();
    let packages = env::join_paths(packages).expect("usual paths");
    let place = Place::new()
        // What the environment of the tests has is seen in one that a page makes, so that nothing is fetched.
        .env("PYTHONPATH", packages.to_str().expect("UTF-8"))
        .env("PIP_NO_INDEX", "1")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PATH", path.to_str().expect("UTF-8"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CARGO_HOME", &or_home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", &or_home("RUSTUP_HOME", ".rustup"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    // What one run has built the next one need not build.
    let shared = bins::folder().join("docs");
    fs::create_dir_all(&shared).expect("the target folder is writable");
    symlink(shared, place.file("target")).expect("the temporary folder is writable");
    place
}

async fn output(mut command: Command) -> Result<(i32, String), String> {
    // It would be that of the tests.
    command.env_remove("CARGO_TARGET_DIR");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output());
    let output = output.await.map_err(|_| format!("still running after {PATIENCE:?}"))?;
    let output = output.map_err(|error| format!("cannot be run: {error}"))?;
    let printed = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&printed).into_owned(),
    ))
}
