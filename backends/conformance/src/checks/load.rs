//! Before anything is created: what the file and its descriptor say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Check, Needs, check};
use crate::bench::Bench;
use crate::elf::Symbols;
use crate::outcome::{Outcome, Passed, Trouble, fails, skipped};
use crate::subject::Inspect;

pub(super) const CHECKS: &[Check] = &[
    check(("load", "descriptor"), "it loads and says who it is", (Needs::Nothing, 30), descriptor),
    check(
        ("load", "symbols"),
        "the library exports its one entry and nothing else",
        (Needs::Loaded, 10),
        symbols,
    ),
    check(
        ("load", "instant"),
        "the descriptor comes in 50 ms, without threads or open files, and is the same when asked again",
        (Needs::Loaded, 30),
        instant,
    ),
    check(
        ("load", "tables"),
        "host tables of a newer host are taken, and settings that are no JSON do no harm",
        (Needs::Loaded, 60),
        tables,
    ),
];

/// The name of the C entry.
const ENTRY: &str = "lipcast_plugin_entry_v1";
/// The Rust door's header, as abi_stable names it.
const ROOT: &str = "_1as_0lib_1header_0root_bmodule_bloader";

fn descriptor(bench: &Bench) -> Outcome {
    let host = bench.launch()?;
    let about = host.subject.descriptor();
    let mut passed = Passed::new().note(format!("{} {}: {}", about.id, about.version, about.name));
    if let Some(expected) = bench.options().expected_id.as_ref().filter(|expected| **expected != about.id) {
        return Err(fails(
            format!("plugin.toml says id {expected}, the plugin itself says {}", about.id),
            "a server refuses it: make them one",
        ));
    }
    let words = [("name", &about.name), ("version", &about.version), ("license", &about.license)];
    let empty: Vec<&str> = words.iter().filter(|(_, text)| text.is_empty()).map(|(what, _)| *what).collect();
    if !empty.is_empty() {
        return Err(fails(
            format!("its {} is empty", empty.join(" and its ")),
            "people see it in `lipcast plugin list`; fill it in the descriptor",
        ));
    }
    if !about.id.contains('.') {
        passed = passed.note("its id has no dot: org.example.name keeps clear of other people's");
    }
    let capabilities = &about.capabilities;
    if capabilities.devices.is_empty() {
        return Err(fails("capabilities: `devices` is empty", "name at least `cpu`, or leave the key out"));
    }
    if capabilities.chunk_frames > 1 {
        let chunk = u64::from(capabilities.chunk_frames - 1) * 40;
        if u64::from(capabilities.lookahead_ms) < chunk {
            return Err(fails(
                format!(
                    "capabilities: chunk_frames is {} with a lookahead_ms of {}",
                    capabilities.chunk_frames, capabilities.lookahead_ms
                ),
                format!(
                    "the look-ahead must cover the rest of the chunk: at least {chunk} ms at 25 frames a second"
                ),
            ));
        }
    }
    Ok(passed)
}

fn symbols(bench: &Bench) -> Outcome {
    let path = bench.shared.launcher.library().ok_or_else(|| skipped("it is no shared library"))?;
    let symbols = Symbols::read(path).map_err(|reason| {
        fails(format!("its symbols cannot be read: {reason}"), "build it as a shared library of this machine")
    })?;
    if !symbols.exported.contains(ENTRY) {
        return Err(fails(
            format!("it does not export {ENTRY}"),
            "mark the entry with LIPCAST_EXPORT, or use the export_backend! macro",
        ));
    }
    let others: BTreeSet<&str> =
        symbols.exported.iter().map(String::as_str).filter(|name| ![ENTRY, ROOT].contains(name)).collect();
    if !others.is_empty() {
        let some: Vec<&str> = others.iter().copied().take(5).collect();
        return Err(fails(
            format!("it exports {} other symbols, such as {}", others.len(), some.join(", ")),
            "two plugins with a symbol of the same name disturb each other: build with -fvisibility=hidden, \
             or link with a version script",
        ));
    }
    let mut passed = Passed::new();
    if symbols.unique {
        passed =
            passed.note("it has unique symbols, which plugins share even so: build with -fno-gnu-unique");
    }
    Ok(passed)
}

/// A number of an inspection's answer.
fn number(answer: &Value, key: &str) -> f64 {
    answer[key].as_f64().unwrap_or(0.0)
}

pub(super) fn inspect(bench: &Bench, what: Inspect) -> Result<Value, Trouble> {
    bench.doing(format!("inspecting: {}", what.word()));
    let answer = bench.shared.launcher.inspect(what, &bench.options().config);
    let answer = answer.ok_or_else(|| skipped("it is no shared library that a host process opens"))?;
    answer.map_err(|refused| {
        let mut trouble = fails(
            refused.reason,
            "the library was opened and called by hand, without sessions: look at its entry, create and destroy",
        );
        if let Trouble::Fails(failure) = &mut trouble {
            failure.lines = refused.lines;
        }
        trouble
    })
}

/// The entry hands out static data; this is ample for a library's own initialisers. Milliseconds.
const ENTRY_MS: f64 = 50.0;

fn instant(bench: &Bench) -> Outcome {
    let mut answer = inspect(bench, Inspect::Descriptor)?;
    // The best of several, each in a fresh process, so that a busy machine is not the plugin's fault.
    for _ in 0..2 {
        if number(&answer, "entry_ms") > ENTRY_MS {
            let again = inspect(bench, Inspect::Descriptor)?;
            if number(&again, "entry_ms") < number(&answer, "entry_ms") {
                answer = again;
            }
        }
    }
    let (opening, entry) = (number(&answer, "open_ms"), number(&answer, "entry_ms"));
    if number(&answer, "new_threads") > 0.0 {
        return Err(fails(
            format!("{} threads run after the descriptor was asked for", number(&answer, "new_threads")),
            "start threads in create; initialisers of the library and the entry start none",
        ));
    }
    if let Some(files) = answer["new_files"].as_array().filter(|files| !files.is_empty()) {
        let names: Vec<&str> = files.iter().filter_map(Value::as_str).take(5).collect();
        return Err(fails(
            format!("the descriptor left {} files open: {}", files.len(), names.join(", ")),
            "open files in create; the descriptor is static data",
        ));
    }
    if answer["same_pointer"] != Value::Bool(true) {
        return Err(fails(
            "the entry gave another descriptor when it was called again",
            "return the address of one static table",
        ));
    }
    if entry > ENTRY_MS {
        return Err(fails(
            format!("the entry took {entry:.0} ms"),
            "the descriptor is static data; what takes time belongs to create",
        ));
    }
    let mut passed = Passed::new();
    passed.figure("opening the library", opening, "ms");
    passed.figure("entry", entry, "ms");
    Ok(passed)
}

fn tables(bench: &Bench) -> Outcome {
    let answer = inspect(bench, Inspect::Tables)?;
    let trials = answer.as_array().cloned().unwrap_or_default();
    let mut passed = Passed::new();
    for trial in &trials {
        let (name, code) = (trial["name"].as_str().unwrap_or("?"), trial["code"].as_str().unwrap_or("?"));
        let (message, must) =
            (trial["message"].as_str().unwrap_or(""), trial["must_work"] == Value::Bool(true));
        if must && code != "OK" {
            return Err(fails(
                format!("create with {name}: {code}: {message}"),
                "read struct_size and no further; a newer host only appends to its table",
            ));
        }
        if code != "OK" && message.is_empty() {
            return Err(fails(
                format!("create with {name}: {code}, without a word"),
                "a failed call fills its status with one line for people",
            ));
        }
        passed = passed.note(format!("{name}: {code} {message}").trim_end().to_owned());
    }
    Ok(passed)
}
