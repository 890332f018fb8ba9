//! What happens to a session, as it happens: server-sent events.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::sessions::{check, unknown};
use super::{Name, Problem};
use crate::app::{App, Caller};

/// `GET /v1/sessions/{id}/events`: `backend`, `draining` and `ended`, numbered, from the first that is kept or from
/// the one after `Last-Event-ID`. Closes after `ended`.
pub(super) async fn follow(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    check(&caller, &id)?;
    let events = app.studio.events(&id).ok_or_else(|| unknown(&id))?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let stream = unfold((events, last), |(events, last)| async move {
        let (number, event) = events.next(last).await?;
        let told = Event::default().id(number.to_string()).event(event.name());
        // Plain texts and numbers: there is nothing in them that JSON could not hold.
        let told = told.json_data(&event).unwrap_or_default();
        Some((Ok(told), (events, number)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}
