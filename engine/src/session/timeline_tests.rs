use crossbeam_channel::bounded;

use super::*;
use crate::audio::SpeechChunk;
use crate::backend::Outcome;
use crate::session::{SpeechEvent, UtteranceId};

const LOOKAHEAD: u64 = 1_600;

fn timeline(rest: Rest) -> Timeline {
    Timeline::new(TimelineConfig { fps: FrameRate::FPS_25, lookahead: LOOKAHEAD, idle: Idle::Host, rest })
}

/// An utterance whose n-th sample at 16 kHz is n + 1, thousandths.
fn say(queue: &mut SpeechQueue, samples: usize) {
    let (sender, receiver) = bounded(1);
    let at_16k: Vec<f32> = (0..samples).map(|index| (index + 1) as f32).collect();
    let at_48k = (0..samples * 3).map(|index| (index + 1) as f32).collect();
    sender.send(SpeechEvent::Chunk(SpeechChunk { at_16k, at_48k })).unwrap();
    queue.enqueue(UtteranceId(0), receiver);
}

fn at_rest(seq: u64) -> FrameReply {
    FrameReply { seq, epoch: 0, outcome: Outcome::AvatarFrame, at_rest: true, avatar_frame_used: 0 }
}

#[test]
fn idle_asks_nothing_and_the_avatar_plays_on() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    for frame in 0..10 {
        let step = timeline.step(&mut queue);
        assert_eq!((step.frame, step.playback, step.ask), (frame, frame, None));
        assert_eq!(step.pcm_48k, vec![0.0; 1_920]);
    }
}

#[test]
fn speech_is_heard_whole_and_pushed_ahead_by_the_look_ahead() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    timeline.step(&mut queue);
    say(&mut queue, 16_000);
    let (mut heard, mut pushed, mut asked) = (Vec::new(), Vec::new(), 0);
    for frame in 1..60u64 {
        let step = timeline.step(&mut queue);
        for push in step.pushes {
            assert_eq!(push.first_sample, 640 + pushed.len() as u64);
            pushed.extend(push.pcm);
            assert_eq!(push.end, pushed.len() == 16_000);
        }
        if let Some(ask) = step.ask {
            asked += 1;
            assert_eq!((ask.flags.first, ask.flags.last), (frame == 1, frame == 25));
            let needed = (640 * (frame + 1) + LOOKAHEAD - 640).min(16_000);
            assert!(pushed.len() as u64 >= needed, "frame {frame}");
        }
        heard.extend(step.pcm_48k);
        if frame == 27 {
            timeline.note_reply(27, 27, 0, &at_rest(26));
        }
    }
    assert_eq!(heard[..48_000], (1..=48_000).map(|value| value as f32).collect::<Vec<_>>());
    assert!(heard[48_000..].iter().all(|sample| *sample == 0.0));
    assert_eq!(asked, 27, "25 frames of speech and two on the way to rest");
}

#[test]
fn without_an_answer_the_mouth_is_given_up_after_the_limit() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    say(&mut queue, 640 * 2);
    let asked = (0..60).filter(|_| timeline.step(&mut queue).ask.is_some()).count() as u64;
    assert_eq!(asked, 2 + Timeline::SETTLE_FRAMES);
}

#[test]
fn a_second_utterance_joins_a_running_one() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    say(&mut queue, 640 * 10);
    say(&mut queue, 640 * 10);
    let steps: Vec<Step> = (0..20).map(|_| timeline.step(&mut queue)).collect();
    let starts = steps.iter().filter(|step| step.ask.is_some_and(|ask| ask.flags.first)).count();
    let ends = steps.iter().flat_map(|step| &step.pushes).filter(|push| push.end).count();
    assert_eq!((starts, ends), (1, 1));
    assert!(steps.iter().all(|step| step.ask.is_some()));
}

#[test]
fn an_utterance_that_comes_after_the_end_begins_at_its_own_first_sample() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    say(&mut queue, 640 + 320);
    assert!(timeline.step(&mut queue).pushes[0].end);
    say(&mut queue, 640);
    let rest = timeline.step(&mut queue).pcm_48k;
    assert_eq!((rest[959], &rest[960..]), (2_880.0, &[0.0; 960][..]), "the frame ends in silence");
    let next = timeline.step(&mut queue);
    assert!(next.ask.unwrap().flags.first);
    assert_eq!((next.pushes[0].pcm[0], next.pcm_48k[0]), (1.0, 1.0));
}

#[test]
fn the_host_blends_in_and_out_when_the_backend_does_not() {
    let mut timeline = timeline(Rest::HostBlend);
    let mut queue = SpeechQueue::default();
    say(&mut queue, 640 * 6);
    let opacity: Vec<u8> =
        (0..12).filter_map(|_| timeline.step(&mut queue).ask.map(|ask| ask.opacity)).collect();
    assert_eq!(opacity, [63, 127, 191, 255, 255, 255, 191, 127, 63, 0]);
}

#[test]
fn speech_that_is_not_decoded_yet_is_told_from_speech_that_is_over() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    assert!(!timeline.lacks_speech(&queue), "idle needs none");
    let (sender, receiver) = bounded(1);
    let send = |samples: usize| {
        let chunk = SpeechChunk { at_16k: vec![0.5; samples], at_48k: vec![0.5; samples * 3] };
        sender.send(SpeechEvent::Chunk(chunk)).unwrap();
    };
    queue.enqueue(UtteranceId(0), receiver);
    send(640 + LOOKAHEAD as usize);
    timeline.step(&mut queue);
    assert!(timeline.lacks_speech(&queue), "the first frame has used up all there was");
    send(640);
    queue.pump();
    assert!(!timeline.lacks_speech(&queue));
    timeline.step(&mut queue);
    drop(sender);
    queue.pump();
    assert!(!timeline.lacks_speech(&queue), "nothing more is to come");
    assert_eq!(timeline.underruns(), 0);
}

#[test]
fn a_source_that_falls_behind_costs_silence_not_alignment() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    let (sender, receiver) = bounded(4);
    queue.enqueue(UtteranceId(0), receiver);
    let chunk = || SpeechEvent::Chunk(SpeechChunk { at_16k: vec![0.5; 2_240], at_48k: vec![0.5; 6_720] });
    sender.send(chunk()).unwrap();
    let first = timeline.step(&mut queue);
    assert!(first.ask.is_some());
    assert_eq!(first.pcm_48k, vec![0.5; 1_920]);
    let second = timeline.step(&mut queue);
    assert_eq!(timeline.underruns(), 1);
    assert_eq!(second.pushes[0].pcm, vec![0.0; 640]);
    sender.send(chunk()).unwrap();
    drop(sender);
    let rest: Vec<f32> = (0..5).flat_map(|_| timeline.step(&mut queue).pcm_48k).collect();
    // 2 240 samples were heard in 3.5 frames, then one frame of silence, then the rest.
    let silent_at = 6_720 - 2 * 1_920;
    assert_eq!(rest[silent_at - 1], 0.5);
    assert_eq!(rest[silent_at..silent_at + 1_920], vec![0.0; 1_920]);
    assert_eq!(rest[silent_at + 1_920], 0.5);
}

#[test]
fn a_barge_in_ends_speech_at_the_next_frame() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    say(&mut queue, 640 * 100);
    timeline.step(&mut queue);
    timeline.interrupt();
    queue.clear();
    let step = timeline.step(&mut queue);
    assert_eq!((step.ask, step.frame, step.playback), (None, 1, 1));
    assert_eq!(step.pcm_48k, vec![0.0; 1_920]);
}

#[test]
fn idle_goes_on_from_the_frame_that_the_backend_used() {
    let mut timeline = timeline(Rest::Backend);
    let mut queue = SpeechQueue::default();
    say(&mut queue, 640);
    timeline.step(&mut queue);
    timeline.step(&mut queue);
    timeline.note_reply(1, 1, 1, &FrameReply { avatar_frame_used: 40, ..at_rest(1) });
    assert_eq!(timeline.step(&mut queue).playback, 41);
}

#[test]
fn a_backend_that_draws_idle_is_asked_for_every_frame() {
    let config =
        TimelineConfig { fps: FrameRate::FPS_25, lookahead: 0, idle: Idle::Backend, rest: Rest::Backend };
    let mut timeline = Timeline::new(config);
    let mut queue = SpeechQueue::default();
    let first = timeline.step(&mut queue);
    assert!(first.pushes[0].end && first.pushes[0].pcm.is_empty());
    assert!(first.ask.unwrap().flags.first);
    assert!(!first.speaking && !timeline.is_speaking(), "nobody speaks, although frames are asked for");
    for _ in 0..100 {
        let step = timeline.step(&mut queue);
        assert!(step.ask.is_some() && step.pushes.is_empty());
    }
    say(&mut queue, 640 * 2);
    let steps: Vec<Step> = (0..60).map(|_| timeline.step(&mut queue)).collect();
    assert!(steps.iter().all(|step| step.ask.is_some()));
    assert!(steps[0].speaking && steps[0].ask.unwrap().flags.first);
    let speaking = steps.iter().filter(|step| step.speaking).count() as u64;
    assert_eq!(speaking, 2 + Timeline::SETTLE_FRAMES, "and then it is over");
    timeline.interrupt();
    let after = timeline.step(&mut queue);
    assert!(after.pushes[0].end && after.ask.unwrap().flags.first, "a reset backend hears it again");
}

#[test]
fn nothing_stays_in_the_queue_when_frames_cut_the_two_rates_apart() {
    for (num, den) in [(30_000, 1001), (24_000, 1001), (60, 1), (30, 1), (25, 1)] {
        for samples in 3_000..3_040 {
            let config = TimelineConfig {
                fps: FrameRate::new(num, den).unwrap(),
                lookahead: 0,
                idle: Idle::Host,
                rest: Rest::HostBlend,
            };
            let (mut timeline, mut queue) = (Timeline::new(config), SpeechQueue::default());
            timeline.step(&mut queue);
            // One sample more at 48 kHz than three for each at 16 kHz: the converters round by themselves.
            let (sender, receiver) = bounded(1);
            let chunk = SpeechChunk { at_16k: vec![1.0; samples], at_48k: vec![1.0; 3 * samples + 1] };
            sender.send(SpeechEvent::Chunk(chunk)).unwrap();
            drop(sender);
            queue.enqueue(UtteranceId(0), receiver);
            let heard: f32 = (0..30).flat_map(|_| timeline.step(&mut queue).pcm_48k).sum();
            assert_eq!((heard, queue.buffered_48k()), (3.0 * samples as f32, 0), "{num}/{den} {samples}");
            assert!(!timeline.is_speaking());
        }
    }
}
