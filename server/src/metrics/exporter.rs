//! All of it as Prometheus reads it, in one place: names, types, units and meanings, in the order of `docs/api.md`.

use std::fmt;
use std::sync::Arc;

use lipcast_engine::backend::BackendFigures;
use lipcast_engine::meter::{Histogram, Reading};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::app::{BackendState, Studio};

/// Reads a server's figures whenever somebody asks.
pub struct Exporter(Registry);

impl Exporter {
    /// The figures of `studio` and its server.
    pub fn new(studio: Arc<dyn Studio>) -> Self {
        let mut registry = Registry::with_prefix("lipcast");
        registry.register_collector(Box::new(Figures { metrics: studio.metrics(), studio }));
        Self(registry)
    }

    /// The content type of [`text`](Self::text).
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// The figures as they stand. Reads a small file for each backend's process.
    ///
    /// # Errors
    /// Never in practice: a text has no end.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

/// One of a backend's counters.
type Count = fn(&BackendFigures) -> u64;

struct Figures {
    studio: Arc<dyn Studio>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        self.backends(&mut sheet)?;
        self.sessions(&mut sheet)
    }
}

impl Figures {
    fn backends(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (reports, figures) = (self.studio.backends(), self.studio.census().backends);
        let states = reports.iter().flat_map(|backend| {
            let one = move |state: BackendState| {
                let labels = [("backend", backend.name.as_str()), ("state", state.as_str())];
                (labels, i64::from(state == backend.state))
            };
            BackendState::ALL.into_iter().map(one)
        });
        sheet.gauges(
            "backend_state",
            "1 for the state that the backend is in, 0 for the others",
            None,
            states,
        )?;
        let capacities = reports.iter().filter_map(|backend| {
            Some(([("backend", backend.name.as_str())], i64::from(backend.capacity_fps?)))
        });
        let rate = Unit::Other("frames_per_second".to_owned());
        sheet.gauges("backend_capacity", "Frames it can draw, once measured", Some(&rate), capacities)?;
        let loads =
            reports.iter().map(|backend| ([("backend", backend.name.as_str())], i64::from(backend.load_fps)));
        sheet.gauges("backend_load", "Frames that its sessions want while they speak", Some(&rate), loads)?;
        let resident = figures
            .iter()
            .filter_map(|backend| Some(([("backend", backend.name.as_str())], backend.resident? as i64)));
        sheet.gauges("host_rss", "Resident memory of its process", Some(&Unit::Bytes), resident)?;

        let restarts = figures.iter().flat_map(|backend| {
            let name = backend.name.as_str();
            let one = move |(cause, count): (lipcast_engine::backend::supervisor::Cause, u64)| {
                ([("backend", name), ("reason", cause.as_str())], count)
            };
            backend.meter.restarts().map(one)
        });
        sheet.counters("backend_restarts", "Times it was started again, by what came before", restarts)?;
        let counts: [(&str, &str, Count); 4] = [
            ("soft_deadline_miss", "Frames it had not drawn when they left", |b| b.meter.missed.value()),
            ("hard_kill", "Processes killed over a call that did not return", |b| b.meter.hard_kills.value()),
            ("bad_output", "Results that broke the contract", |b| b.meter.bad_output.value()),
            ("log_lines_dropped", "Lines it said beyond its limit", |b| b.meter.dropped_lines.value()),
        ];
        for (name, help, count) in counts {
            let of = |backend| (label(backend), count(backend));
            sheet.counters(name, help, figures.iter().map(of))?;
        }
        let sizes = figures.iter().map(|backend| (label(backend), &backend.meter.batch_size));
        sheet.histograms("batch_size_frames", "Frames in a batch", None, sizes)?;
        let queues = figures.iter().map(|backend| (label(backend), &backend.meter.queue));
        let help = "From the first request of a batch to the batch";
        sheet.histograms("queue_duration", help, Some(&Unit::Seconds), queues)?;
        let batches = figures.iter().map(|backend| (label(backend), &backend.meter.inference));
        sheet.histograms("inference_duration", "A batch, there and back", Some(&Unit::Seconds), batches)
    }

    fn sessions(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (census, metrics) = (self.studio.census(), &self.metrics);
        let sessions =
            [("starting", census.starting), ("waiting", census.waiting), ("running", census.running)];
        let sessions = sessions.map(|(state, count)| ([("state", state)], count as i64));
        sheet.gauges("sessions", "Sessions", None, sessions)?;
        sheet.gauges("viewers", "Viewers", None, [(NONE, census.viewers as i64)])?;

        let frames = &metrics.sessions;
        let sources = [
            ("backend", &frames.backend),
            ("standby", &frames.standby),
            ("hold", &frames.held),
            ("idle", &frames.idle),
        ];
        let sources = sources.map(|(source, count)| ([("source", source)], count.value()));
        sheet.counters("frames", "Frames given out, by where their picture came from", sources)?;
        for (name, help, count) in [
            ("frames_shed", "Held frames that a backend too slow was not asked for", frames.shed.value()),
            ("frames_failed", "Replies of backends that could not be shown", frames.failed.value()),
            ("speech_underrun", "Times a speech source fell behind", frames.underruns.value()),
            ("panic", "Panics in this process", metrics.panics.value()),
        ] {
            sheet.counters(name, help, [(NONE, count)])?;
        }
        let moves = metrics.moves().map(|(reason, count)| ([("reason", reason)], count));
        sheet.counters("failovers", "Times another backend drew on, or none was left", moves)?;
        let rejections = metrics.rejections().map(|(reason, count)| ([("reason", reason)], count));
        sheet.counters("rejected", "Requests refused", rejections)?;

        let seconds = Some(&Unit::Seconds);
        sheet.histograms("compose_duration", "A frame's picture", seconds, [(NONE, &frames.compose)])?;
        let encoders = &metrics.encoders;
        let encoders = [("h264", &encoders.h264), ("vp8", &encoders.vp8), ("opus", &encoders.opus)];
        let encoders = encoders.map(|(codec, times)| ([("codec", codec)], times));
        sheet.histograms("encode_duration", "A frame, or 20 ms of sound, encoded", seconds, encoders)
    }
}

fn label(backend: &BackendFigures) -> [(&'static str, &str); 1] {
    [("backend", backend.name.as_str())]
}

const NONE: [(&str, &str); 0] = [];

/// Writes one family after the other.
struct Sheet<'e>(DescriptorEncoder<'e>);

impl Sheet<'_> {
    fn gauges<'v, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = ([(&'static str, &'v str); N], V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        let mut each = values.into_iter();
        each.try_for_each(|(labels, value)| {
            with_labels(&mut family, &labels, |metric| metric.encode_gauge(&value))
        })
    }

    fn counters<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, &'v str); N], u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        let none: Option<&Exemplar<NoLabelSet, f64>> = None;
        let mut each = values.into_iter();
        each.try_for_each(|(labels, value)| {
            with_labels(&mut family, &labels, |metric| metric.encode_counter(&value, none))
        })
    }

    fn histograms<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = ([(&'static str, &'v str); N], &'v Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        let mut each = values.into_iter();
        each.try_for_each(|(labels, histogram)| {
            let Reading { buckets, sum, count } = histogram.read();
            with_labels(&mut family, &labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })
        })
    }
}

/// Without labels a metric is written without their braces.
fn with_labels<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if N == 0 { write(family) } else { write(&mut family.encode_family(labels)?) }
}
