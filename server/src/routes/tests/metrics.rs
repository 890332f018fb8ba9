//! `/metrics`: the figures, who may read them, and that `docs/api.md` lists all of them.

use std::collections::BTreeMap;

use super::*;

async fn text(server: &Server) -> String {
    let reply = server.get("/metrics").await;
    assert_eq!(reply.status, 200);
    assert!(reply.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    String::from_utf8(reply.body).unwrap()
}

/// Name and type of each family that is exported.
fn exported(text: &str) -> BTreeMap<String, String> {
    let family = |line: &str| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let suffix = if kind == "counter" { "_total" } else { "" };
        Some((format!("{name}{suffix}"), kind.to_owned()))
    };
    text.lines().filter_map(family).collect()
}

#[tokio::test]
async fn the_documentation_lists_every_metric_with_its_type_and_no_other() {
    let documentation = include_str!("../../../../docs/api.md");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `lipcast_")?.split('|').map(str::trim);
        let name = format!("lipcast_{}", cells.next()?.split(['`', '{']).next()?);
        let (kind, unit, meaning) = (cells.next()?.to_owned(), cells.next()?, cells.next()?);
        assert!(!unit.is_empty() && !meaning.is_empty(), "{line}");
        Some((name, kind))
    };
    let listed: Vec<_> = documentation.lines().filter_map(row).collect();
    let documented: BTreeMap<String, String> = listed.iter().cloned().collect();
    assert_eq!(documented.len(), listed.len(), "one is listed twice");
    let exported = exported(&text(&Server::new()).await);
    assert!(exported.len() > 20, "{exported:?}");
    assert_eq!(documented, exported);
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason_in_every_dialect() {
    let server = Server::with("tokens = [\"correct-horse-battery\"]");
    let with_token = |method: Method, uri: &str| {
        let mut request = request(method, uri, Body::empty());
        let value = "Bearer correct-horse-battery".parse().unwrap();
        request.headers_mut().insert("authorization", value);
        request
    };
    let count = async |reason: &str| {
        let reply = server.send(with_token(Method::GET, "/metrics")).await;
        assert_eq!(reply.status, 200);
        let text = String::from_utf8(reply.body).unwrap();
        let name = format!("lipcast_rejected_total{{reason=\"{reason}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<u64>().unwrap()
    };
    assert_eq!((count("sessions").await, count("unauthorized").await), (0, 0));
    server.studio.state.lock().unwrap().full = true;
    let start = with_token(Method::POST, "/api/webrtc/realtime/start?session_id=one");
    let reply = server.send(start).await;
    assert_eq!((reply.status.as_u16(), reply.headers.contains_key("retry-after")), (503, true));
    assert_eq!(server.get("/v1/sessions").await.status, 401);
    assert_eq!(server.get("/metrics").await.status, 401, "a token is needed for the figures too");
    assert_eq!((count("sessions").await, count("unauthorized").await), (1, 2));
    assert_eq!(count("capacity").await, 0);
}

#[tokio::test]
async fn a_backend_is_in_one_state_and_no_label_names_a_session() {
    let server = Server::new();
    assert_eq!(server.post("/api/webrtc/realtime/start?session_id=anna").await.status, 200);
    let text = text(&server).await;
    let on = |line: &&str| line.starts_with("lipcast_backend_state{") && line.ends_with(" 1");
    let states: Vec<&str> = text.lines().filter(on).collect();
    let expected = [
        "lipcast_backend_state{backend=\"onnx\",state=\"failed\"} 1",
        "lipcast_backend_state{backend=\"demo\",state=\"ready\"} 1",
    ];
    assert_eq!(states, expected);
    assert!(text.contains("lipcast_sessions{state=\"running\"} 1\n"), "{text}");
    assert!(!text.contains("anna") && text.ends_with("# EOF\n"));
}
