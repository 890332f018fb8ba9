//! What the networks run on: the CPU, or one CUDA device by ONNX Runtime's CUDA or TensorRT provider.
//!
//! The runtime itself goes on with the CPU, without a word, when a provider cannot be had. Here a provider that cannot be
//! had is an error; `auto` alone goes on, and the log says why.

use std::path::PathBuf;

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::bundle::ports::{Dim, Port};
use lipcast_musetalk::settings::{self, DeviceChoice, RuntimeSettings};
use ort::environment::Environment;
use ort::ep::{CUDA, ExecutionProviderDispatch, TensorRT, cuda};
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use serde_json::Value;

use crate::error::failed;
use crate::library::Library;
use crate::rgb8;

/// The options of this runtime alone, all of the GPU: `[backend.NAME.config.options]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// UNet and decoder are compiled by TensorRT, minutes at the first start; what it cannot take goes to CUDA.
    pub tensorrt: bool,
    /// The folder where TensorRT keeps what it compiled, for one kind of card and one version; empty: nothing is kept.
    pub engine_cache: PathBuf,
    /// UNet and decoder are recorded once for each batch size and replayed, which saves the time of launching kernels.
    pub cuda_graph: bool,
    /// Convolutions run channels last, as tensor cores like it.
    pub prefer_nhwc: bool,
    /// fp32 products with ten bits of mantissa: faster, and further from the CPU's results.
    pub tf32: bool,
    /// The folder of the CUDA 13 libraries; empty: the system's loader finds them.
    pub cuda_libraries: PathBuf,
    /// The folder of the cuDNN 9 libraries; empty: the system's loader finds them.
    pub cudnn_libraries: PathBuf,
}

impl Options {
    /// Reads the table.
    ///
    /// # Errors
    /// Names the key and what it takes.
    pub fn read(table: &Value) -> Result<Self, NetworkError> {
        let default = Self::default();
        settings::options(table, |table| {
            Ok(Self {
                tensorrt: table.flag("tensorrt", default.tensorrt)?,
                engine_cache: table.path("engine_cache", default.engine_cache)?,
                cuda_graph: table.flag("cuda_graph", default.cuda_graph)?,
                prefer_nhwc: table.flag("prefer_nhwc", default.prefer_nhwc)?,
                tf32: table.flag("tf32", default.tf32)?,
                cuda_libraries: table.path("cuda_libraries", default.cuda_libraries)?,
                cudnn_libraries: table.path("cudnn_libraries", default.cudnn_libraries)?,
            })
        })
    }
}

/// Where networks are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Cpu,
    /// The number of the device.
    Cuda(u8),
}

/// What a network is for, as far as it decides how it is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role<'a> {
    /// UNet or decoder: run for every frame, in one of a few batch sizes.
    Speech {
        /// The batch sizes, rising.
        batches: &'a [usize],
        /// Whether its weights are fp16.
        half: bool,
    },
    /// Any other.
    Other,
}

/// The device that was chosen, and how sessions are made for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) options: Options,
    threads: usize,
    environment: Environment,
}

impl Target {
    /// Chooses as `settings` say. On a GPU, something small has run when this returns.
    ///
    /// # Errors
    /// When the setting is not understood, and when the GPU that it names cannot be had.
    pub(crate) fn choose(
        library: &Library,
        settings: &RuntimeSettings,
        log: &dyn Fn(&str),
    ) -> Result<Self, NetworkError> {
        let options = Options::read(&settings.options)?;
        let threads = match settings.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let target = |place| Self {
            place,
            options: options.clone(),
            threads,
            environment: library.environment.clone(),
        };
        match settings.device {
            DeviceChoice::Cpu => Ok(target(Place::Cpu)),
            DeviceChoice::Cuda(number) => {
                let target = target(Place::Cuda(number));
                target.try_out().map_err(|error| match error {
                    NetworkError::OutOfMemory(_) | NetworkError::DeviceLost(_) => error,
                    error => NetworkError::Unsupported(format!("device = \"{}\": {error}", settings.device)),
                })?;
                Ok(target)
            }
            DeviceChoice::Auto => match target(Place::Cuda(0)).try_out() {
                Ok(()) => {
                    log("device = \"auto\": the networks run on cuda:0");
                    Ok(target(Place::Cuda(0)))
                }
                Err(error) => {
                    log(&format!(
                        "device = \"auto\": the networks run on the CPU, since a GPU cannot be had: {error}"
                    ));
                    Ok(target(Place::Cpu))
                }
            },
        }
    }

    /// `cpu`, or like `cuda:0`.
    pub(crate) fn name(&self) -> String {
        match self.place {
            Place::Cpu => "cpu".to_owned(),
            Place::Cuda(number) => format!("cuda:{number}"),
        }
    }

    /// The same, but on the CPU.
    pub(crate) fn on_cpu(&self) -> Self {
        Self { place: Place::Cpu, ..self.clone() }
    }

    /// Whether speech is recorded and replayed; such sessions take memory of the device at addresses that stay.
    pub(crate) fn records(&self) -> bool {
        self.place != Place::Cpu && self.options.cuda_graph
    }

    /// The options of a session that takes `inputs`.
    pub(crate) fn builder(&self, role: Role<'_>, inputs: &[Port]) -> Result<SessionBuilder, NetworkError> {
        let is_free = |dim: &&Dim| **dim == Dim::Any;
        let endless = inputs.iter().any(|port| port.shape.iter().filter(is_free).count() > 1);
        let build = || -> ort::Result<SessionBuilder> {
            let builder = Session::builder(&self.environment)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_threads(self.threads)?
                // Threads that wait for work by spinning take the cores of those who encode.
                .with_intra_op_spinning(false)?
                // A plan of the memory is made for each shape and kept: worth a tenth where shapes come back. Of lengths of
                // speech there are 1500, of which 300 took less than a megabyte; sizes of pictures have no end.
                .with_memory_pattern(!endless)?;
            Ok(match self.place {
                // A library built for GPUs would choose by itself otherwise.
                Place::Cpu => builder.with_auto_device(AutoDevicePolicy::PreferCPU)?,
                Place::Cuda(number) => {
                    builder.with_execution_providers(self.providers(number.into(), role, inputs))?
                }
            })
        };
        build().map_err(|error| failed(&self.name(), error))
    }

    /// Fails now, not at the first large network, when the device is not there.
    fn try_out(&self) -> Result<(), NetworkError> {
        let folder = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let (cuda, cudnn) = (folder(&self.options.cuda_libraries), folder(&self.options.cudnn_libraries));
        cuda::preload_dylibs(cuda.as_deref(), cudnn.as_deref())
            .map_err(|error| failed(&self.name(), error))?;
        rgb8::try_out(self)
    }

    /// Providers in the order in which they are offered each node.
    fn providers(&self, number: i32, role: Role<'_>, inputs: &[Port]) -> Vec<ExecutionProviderDispatch> {
        let options = &self.options;
        let speech = matches!(role, Role::Speech { .. });
        let cuda = CUDA::default()
            .with_device_id(number)
            .with_prefer_nhwc(options.prefer_nhwc)
            .with_tf32(options.tf32)
            .with_cuda_graph(options.cuda_graph && speech)
            .build()
            .error_on_failure();
        match role {
            Role::Speech { batches, half } if options.tensorrt => {
                let largest = batches.last().copied().unwrap_or(1);
                let mut tensorrt = TensorRT::default()
                    .with_device_id(number)
                    .with_fp16(half)
                    .with_cuda_graph(options.cuda_graph)
                    .with_profile_min_shapes(shapes(inputs, 1))
                    .with_profile_opt_shapes(shapes(inputs, largest))
                    .with_profile_max_shapes(shapes(inputs, largest));
                if !options.engine_cache.as_os_str().is_empty() {
                    let folder = options.engine_cache.to_string_lossy();
                    tensorrt = tensorrt
                        .with_engine_cache(true)
                        .with_engine_cache_path(&folder)
                        .with_timing_cache(true)
                        .with_timing_cache_path(&folder);
                }
                vec![tensorrt.build().error_on_failure(), cuda]
            }
            _ => vec![cuda],
        }
    }
}

/// Shapes as TensorRT's provider reads them, like `latents:4x8x32x32,audio:4x50x384`.
fn shapes(inputs: &[Port], batch: usize) -> String {
    let shape = |port: &Port| {
        let lengths = port.shape.iter().map(|dim| match dim {
            Dim::Fixed(length) => length.to_string(),
            // Those of speech have no other free axis.
            Dim::Batch | Dim::Any => batch.to_string(),
        });
        format!("{}:{}", port.name, lengths.collect::<Vec<_>>().join("x"))
    };
    inputs.iter().map(shape).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use lipcast_musetalk::networks::Network;
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        assert_eq!(Options::read(&Value::Null), Ok(Options::default()));
        let read = Options::read(&json!({ "tensorrt": true, "engine_cache": "/var/cache" })).unwrap();
        assert_eq!((read.tensorrt, read.engine_cache), (true, "/var/cache".into()));
        for (table, words) in [
            (json!({ "tensorrtt": true }), "did you mean `options.tensorrt`?"),
            (json!({ "tf32": "yes" }), "options.tf32: true or false is expected, not \"yes\""),
            (json!({ "engine_cache": "a\0b" }), "options.engine_cache: a path"),
        ] {
            let error = Options::read(&table).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn tensorrt_hears_the_shapes_of_the_smallest_and_largest_batch() {
        let inputs = Network::Unet.interface().inputs;
        assert_eq!(shapes(inputs, 1), "latents:1x8x32x32,audio:1x50x384");
        assert_eq!(shapes(inputs, 16), "latents:16x8x32x32,audio:16x50x384");
    }
}
