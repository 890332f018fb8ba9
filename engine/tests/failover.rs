//! Backends that fail in mid-sentence, through the real contract: another one draws on, and neither the frames'
//! numbers nor the sound show it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use lipcast_codecs::I420;
use lipcast_engine::audio::SpeechChunk;
use lipcast_engine::backend::{Instance, LocalInstance};
use lipcast_engine::session::{
    Canvas, Cast, Casting, Move, MoveReason, Performance, SpeechEvent, Stage, Standby, Unit, UnitKind,
    UtteranceId,
};
use lipcast_engine::time::FrameRate;
use lipcast_plugins_api::author::*;
use lipcast_plugins_api::loader::Plugin;
use lipcast_plugins_api::serde_json::{Value, json};

const SIDE: u32 = 32;
const FRAME: u64 = 640;
/// Frames planned before the one that leaves.
const AHEAD: u64 = 5;
/// Frames of speech, from frame 0.
const SPEECH: u64 = 100;
/// A second.
const RETURN_AFTER: u64 = 25;

/// What is said, sample by sample at 16 kHz.
fn said(sample: i64) -> f32 {
    let end = (SPEECH * FRAME) as i64;
    if (0..end).contains(&sample) { (sample * 7 % 101) as f32 / 101.0 } else { 0.0 }
}

/// Draws its `value` where it heard what was said, white where it did not. As its settings say it panics, loses its
/// device, fails or hangs at a frame (`panic_at`, `lose_device_at`, `fail_from`, `hang_at` with a `gate`).
/// Looks `AHEAD` and back by as many milliseconds as its type says.
struct Actor<const LOOKAHEAD: u32, const LOOKBEHIND: u32> {
    settings: Value,
    gate: Option<Receiver<()>>,
}

/// Gates that hanging actors wait at, by name.
static GATES: Mutex<Option<HashMap<String, Receiver<()>>>> = Mutex::new(None);

const DEAF: u8 = 255;
const WHOLE: Rect = Rect::new(0, 0, SIDE, SIDE);

impl<const LOOKAHEAD: u32, const LOOKBEHIND: u32> Backend for Actor<LOOKAHEAD, LOOKBEHIND> {
    type Avatar = ();
    type Session = AudioTimeline;

    fn descriptor() -> Descriptor {
        Descriptor {
            id: "lipcast.test.actor".into(),
            name: String::new(),
            version: String::new(),
            vendor: String::new(),
            license: String::new(),
            url: String::new(),
            capabilities: Capabilities {
                lookahead_ms: LOOKAHEAD,
                lookbehind_ms: LOOKBEHIND,
                ..Capabilities::default()
            },
        }
    }

    fn create(_: Host, settings: Value, _: &Operation<'_>) -> Result<Self, Error> {
        let gate =
            settings["gate"].as_str().map(|name| GATES.lock().unwrap().as_ref().unwrap()[name].clone());
        Ok(Self { settings, gate })
    }

    fn prepare_avatar(
        &self,
        _: &AvatarSource<'_>,
        _: &Value,
        sink: &mut BlobSink<'_>,
        _: &Operation<'_>,
    ) -> Result<(), Error> {
        sink.write(b"blob")
    }

    fn load_avatar(&self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn avatar_info(&self, (): &()) -> AvatarInfo {
        AvatarInfo {
            canvas: (SIDE, SIDE),
            fps: (25, 1),
            frame_count: 1,
            max_rect: WHOLE,
            slots: 0,
            idle: IdleBy::Host,
            rest_policy: RestPolicy::Ask,
        }
    }

    fn frame_mask<'a>(&self, (): &'a (), _: u32) -> Result<FrameMask<'a>, Error> {
        Ok(FrameMask { rect: WHOLE, alpha: None })
    }

    fn open_session(&self, _: Arc<()>, _: &SessionParams) -> Result<AudioTimeline, Error> {
        Ok(AudioTimeline::new(100_000))
    }

    fn push_audio(&self, audio: &mut AudioTimeline, first: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        audio.push(first, pcm, end)
    }

    fn reset(&self, audio: &mut AudioTimeline, _: u32) -> Result<(), Error> {
        audio.clear();
        Ok(())
    }

    fn infer_batch(&self, batch: &mut Batch<'_, Self>) -> Result<(), Error> {
        batch.for_each(|request| {
            let (frame, at) = (request.frame, |name: &str| self.settings[name].as_u64());
            if at("panic_at") == Some(frame) {
                panic!("told to");
            }
            if at("lose_device_at") == Some(frame) {
                return Err(Error::new(Code::DeviceLost, "fell off the bus"));
            }
            if at("fail_from").is_some_and(|from| frame >= from) {
                return Err(Error::internal("a bad day"));
            }
            if at("hang_at") == Some(frame) {
                let _ = self.gate.as_ref().unwrap().recv();
            }
            let audio = &mut *request.session;
            let first = (frame * FRAME) as i64 - i64::from(LOOKBEHIND) * 16;
            let mut heard = vec![0.0; (FRAME + u64::from(LOOKAHEAD + LOOKBEHIND) * 16) as usize];
            audio.window(first, &mut heard);
            let right = (first..).zip(&heard).all(|(sample, heard)| said(sample) == *heard);
            let value = if right { at("value").unwrap() as u8 } else { DEAF };
            request.output.picture(WHOLE, PixelFormat::Rgb24, Alpha::Opaque)?.fill(value);
            if audio.ended() && frame * FRAME >= audio.end() {
                request.output.at_rest();
            }
            Ok(())
        });
        Ok(())
    }

    fn health(&self) -> Health {
        Health { state: HealthState::Ok, message: String::new() }
    }
}

/// An actor by name, which looks 80 ms ahead and 200 ms back.
fn actor(name: &str, settings: Value) -> Arc<dyn Instance> {
    actor_who::<80, 200>(name, settings)
}

fn actor_who<const LOOKAHEAD: u32, const LOOKBEHIND: u32>(
    name: &str,
    mut settings: Value,
) -> Arc<dyn Instance> {
    // Panics are expected here; the default hook would print each.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some("told to") {
                default(info);
            }
        }));
    });
    settings["value"] = json!(value_of(name));
    let plugin = Plugin::linked(plugin_table::<Actor<LOOKAHEAD, LOOKBEHIND>>()).unwrap();
    LocalInstance::create(name, &plugin, &settings).unwrap()
}

fn value_of(name: &str) -> u8 {
    20 + 40 * (name.bytes().next().unwrap() - b'a')
}

/// A gate by name; dropping the sender opens it.
fn gate(name: &str) -> Sender<()> {
    let (sender, receiver) = bounded(0);
    GATES.lock().unwrap().get_or_insert_default().insert(name.to_owned(), receiver);
    sender
}

/// A black frame.
struct Black;

impl Canvas for Black {
    fn size(&self) -> (usize, usize) {
        (SIDE as usize, SIDE as usize)
    }

    fn fps(&self) -> FrameRate {
        FrameRate::FPS_25
    }

    fn playback_index(&self, _: u64) -> usize {
        0
    }

    fn frame_count(&self) -> usize {
        1
    }

    fn read(&self, _: usize, picture: &mut I420) -> io::Result<()> {
        picture.planes_mut().0.fill(16);
        Ok(())
    }
}

/// Those who are ready; who is named in `stuck` never gets his avatar.
#[derive(Default)]
struct House {
    ready: Mutex<Vec<Arc<dyn Instance>>>,
    stuck: Mutex<Option<(String, Receiver<()>)>>,
}

impl House {
    fn of(ready: &[&Arc<dyn Instance>]) -> Arc<Self> {
        let house = Arc::new(Self::default());
        house.set(ready);
        house
    }

    fn set(&self, ready: &[&Arc<dyn Instance>]) {
        *self.ready.lock().unwrap() = ready.iter().map(|instance| (*instance).clone()).collect();
    }
}

impl Casting for House {
    fn ready(&self) -> Vec<Arc<dyn Instance>> {
        let ready = self.ready.lock().unwrap();
        ready.iter().filter(|instance| instance.lost().is_none()).cloned().collect()
    }

    fn stage(&self, instance: &Arc<dyn Instance>) -> Result<Stage, String> {
        let stuck = self.stuck.lock().unwrap().clone();
        if let Some((_, gate)) = stuck.filter(|(name, _)| name == instance.name()) {
            let _ = gate.recv();
        }
        Ok(stage(instance))
    }
}

fn stage(instance: &Arc<dyn Instance>) -> Stage {
    let avatar = instance.load_avatar(b"blob").unwrap();
    Stage { canvas: Arc::new(Black), instance: instance.clone(), avatar }
}

/// A performance without a clock: every frame is waited for that is not to be late.
struct Show {
    performance: Performance,
    units: Vec<Unit>,
    moves: Vec<Move>,
}

impl Show {
    fn open(lead: &Arc<dyn Instance>, house: &Arc<House>, standby: Standby) -> Self {
        let return_after = Duration::from_millis(RETURN_AFTER * 40);
        let cast = Cast { casting: house.clone(), standby, return_after };
        let mut performance = Performance::open_with(stage(lead), FrameRate::FPS_25, cast).unwrap();
        let (sender, receiver) = bounded(1);
        let samples = 0..(SPEECH * FRAME) as i64;
        let at_48k = (0..3 * SPEECH * FRAME).map(|sample| 0.1 + (sample % 97) as f32 / 100.0).collect();
        sender.send(SpeechEvent::Chunk(SpeechChunk { at_16k: samples.map(said).collect(), at_48k })).unwrap();
        performance.speech_mut().enqueue(UtteranceId(0), receiver);
        Self { performance, units: Vec::new(), moves: Vec::new() }
    }

    /// With a warm understudy of that name.
    fn warm(lead: &Arc<dyn Instance>, house: &Arc<House>, understudy: &str) -> Self {
        let mut show = Self::open(lead, house, Standby::Warm);
        show.until(|performance| performance.understudy() == Some(understudy));
        show
    }

    /// Lets the troupe work until `done`; no frame passes.
    fn until(&mut self, done: impl Fn(&Performance) -> bool) {
        let patience = Instant::now() + Duration::from_secs(60);
        while !done(&self.performance) {
            assert!(Instant::now() < patience, "a minute was not enough");
            self.performance.attend();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Plays on up to frame `until`; those in `late` are not waited for.
    fn play(&mut self, until: u64, late: &[u64]) -> &mut Self {
        for frame in self.units.len() as u64..until {
            while self.performance.planned_until() <= frame + AHEAD {
                self.performance.plan(None);
            }
            self.performance.accept_ready();
            let patience = Instant::now() + Duration::from_secs(60);
            while !late.contains(&frame) && !self.performance.is_ready() && self.performance.over().is_none()
            {
                assert!(Instant::now() < patience, "frame {frame} was never answered");
                std::thread::sleep(Duration::from_micros(100));
                self.performance.accept_ready();
            }
            self.moves.extend(self.performance.take_moves());
            if self.performance.over().is_some() {
                break;
            }
            let unit = self.performance.give().unwrap();
            assert_eq!(unit.frame, frame, "no number is lost, repeated or out of order");
            self.units.push(unit);
            self.moves.extend(self.performance.take_moves());
        }
        self
    }

    fn play_all(&mut self) -> &mut Self {
        self.play(SPEECH + 10, &[])
    }

    /// Who drew each frame: names, `-` for the avatar's own, `=` for held pictures, `!` for one who heard other audio;
    /// with lengths, as in "a10 b90".
    fn drawn(&self) -> String {
        let letter = |unit: &Unit| {
            let luma = unit.picture.as_view().y[0];
            match unit.kind {
                UnitKind::Held => '=',
                UnitKind::Idle => '-',
                UnitKind::Speech if luma == 235 => '!',
                UnitKind::Speech => {
                    let by = ('a'..'f').find(|name| {
                        let value = u32::from(value_of(&name.to_string()));
                        u32::from(luma).abs_diff(16 + value * 219 / 255) <= 1
                    });
                    by.unwrap_or('?')
                }
            }
        };
        let mut runs: Vec<(char, usize)> = Vec::new();
        // How many frames it takes to come to rest depends on how many were planned when the first answer came.
        for unit in self.units.iter().take(SPEECH as usize) {
            match runs.last_mut() {
                Some((last, count)) if *last == letter(unit) => *count += 1,
                _ => runs.push((letter(unit), 1)),
            }
        }
        runs.iter().map(|(letter, count)| format!("{letter}{count}")).collect::<Vec<_>>().join(" ")
    }

    fn moves(&self) -> Vec<(Option<&str>, Option<&str>, MoveReason, u64)> {
        let of = |change| {
            let Move { from, to, reason, frame }: &Move = change;
            (from.as_deref(), to.as_deref(), *reason, *frame)
        };
        self.moves.iter().map(of).collect()
    }

    /// What was heard is what is heard without any fault.
    fn sounds_whole(&self) {
        let sound: Vec<f32> = self.units.iter().flat_map(|unit| unit.pcm_48k.iter().copied()).collect();
        let whole = |sample: usize| {
            let speech = sample < (3 * SPEECH * FRAME) as usize;
            if speech { 0.1 + (sample % 97) as f32 / 100.0 } else { 0.0 }
        };
        let wrong = sound.iter().enumerate().position(|(sample, heard)| *heard != whole(sample));
        assert_eq!(wrong, None, "the sound is untouched");
    }
}

#[test]
fn without_a_fault_the_first_draws_everything() {
    let (a, b) = (actor("a", json!({})), actor("b", json!({})));
    let mut show = Show::warm(&a, &House::of(&[&a, &b]), "b");
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a100");
    assert_eq!((show.moves(), show.performance.stats().moves), (vec![], 0));
}

#[test]
fn a_panic_in_mid_sentence_is_taken_over_without_a_held_frame() {
    let (a, b) = (actor("a", json!({"panic_at": 30})), actor("b", json!({})));
    let house = House::of(&[&a, &b]);
    let mut show = Show::warm(&a, &house, "b");
    // Only this session is over for it; as a crash would have it, it is not to come back.
    show.play(29, &[]);
    house.set(&[&b]);
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a30 b70");
    assert_eq!(show.moves(), [(Some("a"), Some("b"), MoveReason::Lost, 30)]);
}

#[test]
fn a_lost_device_is_taken_over_and_the_next_understudy_stands_by() {
    let a = actor("a", json!({"lose_device_at": 20}));
    let (b, c) = (actor("b", json!({"lose_device_at": 60})), actor("c", json!({})));
    let house = House::of(&[&a, &b, &c]);
    let mut show = Show::warm(&a, &house, "b");
    show.play(40, &[]);
    show.until(|performance| performance.understudy() == Some("c"));
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a20 b40 c40");
    assert_eq!(show.performance.over(), None, "different frames broke them");
}

#[test]
fn one_who_looks_further_ahead_and_back_hears_all_it_needs() {
    let a = actor_who::<0, 0>("a", json!({"lose_device_at": 50}));
    let b = actor_who::<400, 1_000>("b", json!({"lose_device_at": 70}));
    let c = actor_who::<40, 600>("c", json!({}));
    let mut show = Show::warm(&a, &House::of(&[&a, &b, &c]), "b");
    show.play(60, &[]);
    show.until(|performance| performance.understudy() == Some("c"));
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a50 b20 c30");
}

#[test]
fn two_late_frames_are_enough_and_the_late_one_is_back_when_it_is_well() {
    let open = gate("late");
    let (a, b) = (actor("a", json!({"hang_at": 20, "gate": "late"})), actor("b", json!({})));
    let house = House::of(&[&a, &b]);
    let mut show = Show::warm(&a, &house, "b");
    show.play(22, &[20, 21]);
    assert_eq!(show.drawn(), "a20 =2");
    show.play(30, &[]);
    assert_eq!(show.moves(), [(Some("a"), Some("b"), MoveReason::Late, 22)]);
    drop(open);
    show.performance.recast();
    show.until(|performance| performance.understudy() == Some("a"));
    show.play_all().sounds_whole();
    // Open again at frame 35 at the latest, at 27 where it was asked before it hung; then the wait, and as long again
    // for an idle moment that did not come.
    let (from, to, reason, frame) = show.moves()[1];
    assert_eq!((from, to, reason), (Some("b"), Some("a"), MoveReason::Return));
    assert!((77..=85).contains(&frame), "{frame}");
    assert_eq!(show.drawn(), format!("a20 =2 b{} a{}", frame - 22, 100 - frame));
}

#[test]
fn frames_that_fail_move_the_session_too() {
    let (a, b) = (actor("a", json!({"fail_from": 40})), actor("b", json!({})));
    let mut show = Show::warm(&a, &House::of(&[&a, &b]), "b");
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a40 =5 b55");
    assert_eq!(show.moves()[0].2, MoveReason::Failing);
}

#[test]
fn a_backend_that_is_replaced_keeps_the_frames_it_was_asked_for() {
    let (a, b, anew) = (actor("a", json!({})), actor("b", json!({})), actor("c", json!({})));
    let house = House::of(&[&a, &b]);
    let mut show = Show::warm(&a, &house, "b");
    show.play(30, &[]);
    house.set(&[&anew, &b]);
    show.performance.recast();
    show.until(|performance| performance.backend().is_some_and(|backend| Arc::ptr_eq(backend, &anew)));
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a35 c65", "five frames were planned");
    assert_eq!(show.moves(), [(Some("a"), Some("c"), MoveReason::Replaced, 35)]);
}

#[test]
fn one_that_leaves_and_breaks_leaves_its_frames_to_the_new_one() {
    let _open = gate("leaving");
    let a = actor("a", json!({"hang_at": 30, "gate": "leaving"}));
    let anew = actor("b", json!({}));
    let house = House::of(&[&a]);
    let mut show = Show::open(&a, &house, Standby::Warm);
    show.play(30, &[]);
    house.set(&[&anew]);
    show.performance.recast();
    show.until(|performance| performance.backend().is_some_and(|backend| Arc::ptr_eq(backend, &anew)));
    show.play(32, &[30, 31]);
    show.play(SPEECH + 10, &[32, 33, 34]).sounds_whole();
    assert_eq!(show.drawn(), "a30 =5 b65", "what it was asked for is late, what the new one was is not");
}

#[test]
fn nobody_left_shows_the_avatar_until_somebody_is_back() {
    let a = actor("a", json!({"lose_device_at": 20}));
    let house = House::of(&[&a]);
    let mut show = Show::open(&a, &house, Standby::Warm);
    show.play(40, &[]);
    assert!(show.performance.backend().is_none());
    assert_eq!(show.units[39].picture.as_view().y[0], 16, "the avatar's own frame");
    let again = actor("a", json!({}));
    house.set(&[&again]);
    show.until(|performance| performance.backend().is_some());
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a20 =20 a60");
    let told: Vec<_> = show.moves().iter().map(|(from, to, ..)| (*from, *to)).collect();
    assert_eq!(told, [(Some("a"), None), (None, Some("a"))]);
    assert_eq!(show.moves[1].frame, 40);
}

#[test]
fn a_frame_that_breaks_two_backends_ends_the_session_and_reaches_no_third() {
    let a = actor("a", json!({"panic_at": 30}));
    let (b, c) = (actor("b", json!({"panic_at": 30})), actor("c", json!({})));
    let house = House::of(&[&a, &b, &c]);
    let mut show = Show::warm(&a, &house, "b");
    show.play_all();
    // It ends when that is known, which may be while frames that were planned before it have not left.
    let drawn = show.units.len() as u64;
    assert!((30 - AHEAD..=30).contains(&drawn) && show.drawn() == format!("a{drawn}"), "{}", show.drawn());
    assert!(show.performance.over().unwrap().contains("frame 30"), "{:?}", show.performance.over());
    assert_eq!(c.batch_p99(), Duration::ZERO, "it was asked nothing");
}

#[test]
fn an_opening_that_hangs_holds_up_nobody() {
    let open = gate("opening");
    let (a, b, c) = (actor("a", json!({"lose_device_at": 60})), actor("b", json!({})), actor("c", json!({})));
    let house = House::of(&[&a, &b, &c]);
    let gate = GATES.lock().unwrap().as_ref().unwrap()["opening"].clone();
    *house.stuck.lock().unwrap() = Some(("b".to_owned(), gate));
    let mut show = Show::open(&a, &house, Standby::Warm);
    show.play(50, &[]);
    show.until(|performance| performance.understudy() == Some("c"));
    show.play_all().sounds_whole();
    assert_eq!(show.drawn(), "a60 c40");
    drop(open);
}

#[test]
fn cold_opens_when_it_is_needed_and_none_opens_the_last_of_all() {
    let opened = |standby: Standby| {
        let a = actor("a", json!({"lose_device_at": 30}));
        let (b, c) = (actor("b", json!({})), actor("c", json!({})));
        let mut show = Show::open(&a, &House::of(&[&a, &b, &c]), standby);
        show.play(29, &[]);
        assert_eq!(show.performance.understudy(), None);
        show.play(40, &[]);
        show.until(|performance| performance.backend().is_some());
        show.play_all().sounds_whole();
        show.drawn()
    };
    let (cold, none) = (opened(Standby::Cold), opened(Standby::None));
    // How many frames are without a backend depends on the helper thread.
    assert!(cold.starts_with("a30 ") && cold.contains(['b', 'c']), "{cold}");
    assert!(none.starts_with("a30 ") && none.contains('c') && !none.contains('b'), "{none}");
}

#[test]
fn the_preferred_one_is_back_at_an_idle_moment() {
    let a = actor("a", json!({"lose_device_at": 60}));
    let (b, again) = (actor("b", json!({})), actor("a", json!({})));
    let house = House::of(&[&a, &b]);
    let mut show = Show::warm(&a, &house, "b");
    show.play(85, &[]);
    house.set(&[&again, &b]);
    show.performance.recast();
    show.until(|performance| performance.understudy() == Some("a"));
    show.play(130, &[]);
    // Ready since frame 90, so due at 115, when nobody speaks any more.
    assert_eq!(show.moves()[1], (Some("b"), Some("a"), MoveReason::Return, 115));
}
