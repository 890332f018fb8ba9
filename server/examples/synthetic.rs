//! A session without an engine, to look at the live path alone: a moving pattern that carries its frame number as a
//! barcode, and every two seconds a white flash at (160, 16) with a click in the same unit.
//!
//! `cargo run --release -p lipcast --example synthetic -- 8099` answers offers at `/api/webrtc/offer` as the server
//! does; `tests/e2e` measures what arrives.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use lipcast_codecs::{I420, I420Ref};
use lipcast_engine::time::FrameRate;
use lipcast_server::live::{LiveStream, LiveUnit, StreamFormat};
use lipcast_server::webrtc::{self, WebrtcSettings};
use serde_json::{Value, json};

const FPS: FrameRate = FrameRate::FPS_25;
const SIZE: usize = 512;
/// Frames from flash to flash.
const FLASH_EVERY: u64 = 50;

struct Unit {
    frame: u64,
    picture: Arc<I420>,
    pcm: Vec<f32>,
}

impl LiveUnit for Unit {
    fn frame(&self) -> u64 {
        self.frame
    }

    fn picture(&self) -> I420Ref<'_> {
        self.picture.as_view()
    }

    fn pcm_48k(&self) -> &[f32] {
        &self.pcm
    }
}

fn unit(frame: u64, skew_samples: i64) -> Unit {
    let mut picture = I420::black(SIZE, SIZE).expect("an even size");
    let (luma, u, _) = picture.planes_mut();
    for (y, row) in luma.chunks_exact_mut(SIZE).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = 40 + (((x + frame as usize * 3) ^ y) & 0x7f) as u8;
        }
    }
    u.fill(100 + (frame % 50) as u8);
    barcode(luma, frame);
    let flash = frame.is_multiple_of(FLASH_EVERY);
    fill(luma, 160, 16, 128, 112, if flash { 235 } else { 16 });
    let first = FPS.first_sample(frame, 48_000) as i64;
    let period = FPS.first_sample(FLASH_EVERY, 48_000) as i64;
    let click = |sample: i64| {
        // 1 kHz for 20 ms from the first sample of the flashed frame on.
        let into = (sample - skew_samples).rem_euclid(period);
        if into < 960 { (into as f32 * 1_000.0 / 48_000.0 * std::f32::consts::TAU).sin() * 0.8 } else { 0.0 }
    };
    let pcm = (first..FPS.first_sample(frame + 1, 48_000) as i64).map(click).collect();
    Unit { frame, picture: Arc::new(picture), pcm }
}

/// The probe backend's layout: a finder, three bytes of frame number, two of avatar frame, a CRC-8; a row of 8 bits
/// each, the highest first, in squares of 16 pixels from (16, 16) on.
fn barcode(luma: &mut [u8], frame: u64) {
    let [.., high, middle, low] = frame.to_be_bytes();
    let data = [high, middle, low, 0, 0];
    let crc = data.into_iter().fold(0xFF_u8, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 })
    });
    let rows = [[0b1010_1100].as_slice(), &data, &[crc]].concat();
    for (row, bits) in rows.into_iter().enumerate() {
        for column in 0..8 {
            let value = if (bits << column) & 0x80 == 0 { 16 } else { 235 };
            fill(luma, 16 + column * 16, 16 + row * 16, 16, 16, value);
        }
    }
}

fn fill(luma: &mut [u8], x: usize, y: usize, width: usize, height: usize, value: u8) {
    for row in luma.chunks_exact_mut(SIZE).skip(y).take(height) {
        row[x..x + width].fill(value);
    }
}

struct App {
    stream: Arc<LiveStream>,
    settings: WebrtcSettings,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(format!("info,{}", webrtc::QUIET_TARGETS.join(","))).init();
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(8099), |port| port.parse())?;
    // Milliseconds by which the sound is late on purpose.
    let skew: i64 = arguments.next().map_or(Ok(0), |milliseconds| milliseconds.parse())?;

    let (begin, begun) = std::sync::mpsc::sync_channel::<()>(1);
    let (units, receiver) = std::sync::mpsc::sync_channel(2);
    std::thread::spawn(move || {
        if begun.recv().is_err() {
            return;
        }
        let start = Instant::now();
        for frame in 0.. {
            let unit = unit(frame, skew * 48);
            std::thread::sleep((start + FPS.start_of(frame)).saturating_duration_since(Instant::now()));
            if units.send(unit).is_err() {
                return;
            }
        }
    });
    let format =
        StreamFormat { width: SIZE, height: SIZE, fps: FPS, video_bitrate: 1_200_000, audio_bitrate: 32_000 };
    let stream = LiveStream::start(format, receiver, move || {
        let _ = begin.send(());
    })?;
    let settings = WebrtcSettings::for_http_address(Ipv4Addr::LOCALHOST.into());
    let app = Arc::new(App { stream, settings });
    let router = Router::new()
        .route("/", get(|| async { axum::response::Html("<!doctype html><title>synthetic</title>") }))
        .route("/api/webrtc/offer", post(offer))
        .route("/api/webrtc/realtime/start", post(start))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn start(Query(query): Query<std::collections::HashMap<String, String>>) -> Json<Value> {
    Json(json!({ "status": "realtime_started", "session_id": query.get("session_id"), "fps": 25 }))
}

async fn offer(State(app): State<Arc<App>>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    match webrtc::connect(body["sdp"].as_str().unwrap_or_default(), &app.stream, &app.settings).await {
        Ok(viewer) => (StatusCode::OK, Json(json!({ "sdp": viewer.answer, "type": "answer" }))),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "detail": error.to_string() }))),
    }
}
