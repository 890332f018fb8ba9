//! A panic or an exception ends one session, not the process.

use lipcast_plugins_api::types::{Code, SessionParams};
use serde_json::json;

use super::{Check, Needs, check};
use crate::bench::{Bench, params_of};
use crate::compare::same;
use crate::material::voice;
use crate::outcome::{Outcome, Passed, Trouble, fails, skipped};
use crate::performer::{LEAD_IN, Performer};

pub(super) const CHECKS: &[Check] = &[check(
    ("panic", "is_caught"),
    "a panic in a session becomes BACKEND_PANIC, and the other sessions go on",
    (Needs::Frames, 60),
    is_caught,
)];

/// The session parameter that makes a backend panic on purpose; `export_backend!` sees to it.
const HOOK: &str = "debug_panic";

fn is_caught(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let play = |performer: &mut Performer, from: u64| performer.play(host, from..from + 5);
    let mut alone = Performer::open(&stage)?;
    alone.say(host, LEAD_IN, &voice(0, 1.0))?;
    let mut expected = play(&mut alone, LEAD_IN)?;
    expected.extend(play(&mut alone, LEAD_IN + 5)?);
    host.close(alone.session)?;

    let mut witness = Performer::open(&stage)?;
    witness.say(host, LEAD_IN, &voice(0, 1.0))?;
    let mut found = play(&mut witness, LEAD_IN)?;
    let params = SessionParams { params: json!({ HOOK: true }), ..params_of(&stage.avatar.info) };
    let doing = format!("open_session with `{HOOK}`");
    let look = "every entry must catch: build Rust with panic = \"unwind\", never \"abort\", and wrap C++ in catch (...)";
    let opened = host.attempt(&doing, |subject| subject.open(stage.avatar.id, &params));
    match opened.map_err(|trouble| match trouble {
        Trouble::Fails(failure) => fails(failure.what, look),
        skipped => skipped,
    })? {
        Err(error) if error.code == Code::BackendPanic => {}
        Err(error) => {
            return Err(skipped(format!("it has no way to panic on purpose (`{HOOK}`): {error}")));
        }
        Ok(session) => {
            host.close(session)?;
            return Err(skipped(format!("it has no way to panic on purpose (`{HOOK}`)")));
        }
    }
    found.extend(play(&mut witness, LEAD_IN + 5)?);
    same(
        host.capabilities(),
        &found,
        &expected,
        "a session beside one that panicked",
        "the panic was caught, but another session draws differently: look for state in the instance, and see \
         session.cross_talk",
    )?;
    Ok(Passed::new())
}
