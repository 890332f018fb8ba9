//! Session calls and batches, all from one thread, in the order of the ring.

use std::collections::HashMap;
use std::sync::Arc;

use lipcast_plugins_api::abi;
use lipcast_plugins_api::loader::{self, FrameResult, Inferer, Instance, Session, Slot};
use lipcast_plugins_api::types::{Code, Error, SessionMode, SessionParams};
use lipcast_wire::op::{Drawn, Op, Request};
use lipcast_wire::ring::Work;

use crate::avatars::Slots;
use crate::control::Desk;

/// One session, and where its pictures go.
struct Seat {
    session: Session,
    slots: Arc<Slots>,
}

/// Serves until the parent wants the end, or wrote something that cannot be.
pub(crate) fn serve(instance: &Instance, mut work: Work, desk: &Desk) {
    let mut stage = match instance.inferer() {
        Ok(inferer) => Stage { inferer, seats: HashMap::new() },
        Err(error) => return eprintln!("{error}"),
    };
    loop {
        let task = match work.take() {
            Ok(Some(task)) => task,
            Ok(None) => return,
            Err(error) => return eprintln!("the parent's ring: {error}"),
        };
        match &task.op {
            Op::Infer { requests } => {
                let results = stage.infer(requests);
                work.finish(&task, Ok(()), &results);
            }
            op => {
                let status = stage.obey(op, desk);
                work.finish(&task, status.as_ref().copied(), &[]);
            }
        }
    }
}

struct Stage {
    inferer: Inferer,
    seats: HashMap<u64, Seat>,
}

impl Stage {
    fn obey(&mut self, op: &Op, desk: &Desk) -> Result<(), Error> {
        match op {
            Op::Open { session, avatar, whole, fps, params } => {
                if self.seats.contains_key(session) {
                    return Err(Error::invalid_arg(format!("session {session} is open")));
                }
                let (avatar, slots) = desk.avatars.find(*avatar)?;
                let params = SessionParams {
                    mode: if *whole { SessionMode::Whole } else { SessionMode::Live },
                    canvas: avatar.info().canvas,
                    fps: *fps,
                    params: serde_json::from_str(params).unwrap_or(serde_json::Value::Null),
                };
                let opened = self.inferer.open_session(&avatar, &params)?;
                self.seats.insert(*session, Seat { session: opened, slots });
                Ok(())
            }
            Op::Push { session, first_sample, pcm, end } => {
                self.seat(*session)?.session.push_audio(*first_sample, pcm, *end)
            }
            Op::Reset { session, epoch } => self.seat(*session)?.session.reset(*epoch),
            Op::Close { session } => {
                self.seats.remove(session);
                Ok(())
            }
            Op::Infer { .. } => Err(Error::internal("a batch is no session call")),
        }
    }

    fn infer(&mut self, requests: &[Request]) -> Vec<Result<Drawn, Error>> {
        let mut results: Vec<Result<Drawn, Error>> =
            requests.iter().map(|_| Err(Error::internal("not asked"))).collect();
        let mut slots: Vec<(usize, Slot)> = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            match self.seat(request.session).and_then(|seat| seat.slots.slot(request.slot)) {
                Ok(slot) => slots.push((index, slot)),
                Err(error) => results[index] = Err(error),
            }
        }
        let seats = &self.seats;
        let mut asked: Vec<loader::FrameRequest<'_>> = slots
            .iter_mut()
            .map(|(index, slot)| {
                let request = &requests[*index];
                let session = &seats[&request.session].session;
                loader::FrameRequest {
                    epoch: request.epoch,
                    seq: request.seq,
                    deadline_ns: request.deadline_ns,
                    first: request.flags & abi::REQUEST_FIRST != 0,
                    last: request.flags & abi::REQUEST_LAST != 0,
                    discard_ok: request.flags & abi::REQUEST_DISCARD_OK != 0,
                    ..loader::FrameRequest::new(session, request.frame, request.avatar_frame, slot)
                }
            })
            .collect();
        if asked.is_empty() {
            return results;
        }
        self.inferer.infer_batch(&mut asked);
        let answers: Vec<_> = asked.into_iter().map(|request| request.result).collect();
        for ((index, _), answer) in slots.iter().zip(answers) {
            results[*index] = answer.map(|result| drawn(&result));
        }
        results
    }

    fn seat(&mut self, session: u64) -> Result<&mut Seat, Error> {
        let missing = || Error::new(Code::InvalidArg, format!("there is no session {session}"));
        self.seats.get_mut(&session).ok_or_else(missing)
    }
}

fn drawn(result: &FrameResult) -> Drawn {
    let flag = |set, bit| if set { bit } else { 0 };
    Drawn {
        rect: [result.rect.x, result.rect.y, result.rect.width, result.rect.height],
        format: result.format.to_abi(),
        alpha: result.alpha.to_abi(),
        flags: flag(result.unchanged, abi::RESULT_UNCHANGED) | flag(result.at_rest, abi::RESULT_AT_REST),
        avatar_frame_used: result.avatar_frame_used,
    }
}
