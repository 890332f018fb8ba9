//! What can be set of this runtime alone: the table `options` of a backend.

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::settings;
use serde_json::Value;

/// Every option at its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Packages that were compiled for this GPU are used when the bundle has them.
    pub compiled: bool,
    /// On a GPU, what a batch takes is recorded at the start, and then given to it as one launch (a CUDA graph).
    pub cuda_graphs: bool,
    /// Convolutions keep their channels together: faster on some GPUs in fp16, slower on others.
    pub channels_last: bool,
    /// TorchScript rewrites its graphs in the first runs of each shape; unless it is set, on a CPU alone, where the UNet
    /// takes a fifth less so. On the GPU that was measured, starting took six times as long and a batch of 16 a fifth
    /// longer.
    pub optimize: Option<bool>,
    /// cuDNN tries its ways to convolve and keeps the fastest, once for each shape, at the start.
    pub cudnn_benchmark: bool,
    /// On a CPU, memory stays with the process between operators, as [`lipcast_torch_native::heap`] explains. It holds
    /// for the whole process: `false` where the backend shares the server's (`isolation = "in-process"`).
    pub keep_memory: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compiled: true,
            cuda_graphs: true,
            channels_last: false,
            optimize: None,
            cudnn_benchmark: true,
            keep_memory: true,
        }
    }
}

impl Options {
    /// Reads the table; null is an empty one.
    ///
    /// # Errors
    /// Names the key and what it takes.
    pub fn read(table: &Value) -> Result<Self, NetworkError> {
        let default = Self::default();
        settings::options(table, |table| {
            Ok(Self {
                compiled: table.flag("compiled", default.compiled)?,
                cuda_graphs: table.flag("cuda_graphs", default.cuda_graphs)?,
                channels_last: table.flag("channels_last", default.channels_last)?,
                optimize: table
                    .take("optimize", "true or false", default.optimize, |value| value.as_bool().map(Some))?,
                cudnn_benchmark: table.flag("cudnn_benchmark", default.cudnn_benchmark)?,
                keep_memory: table.flag("keep_memory", default.keep_memory)?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_table_is_the_default_and_what_is_wrong_is_named() {
        assert_eq!(Options::read(&Value::Null), Ok(Options::default()));
        assert_eq!(Options::read(&json!({})), Ok(Options::default()));
        let options = Options::read(&json!({ "channels_last": true })).expect("it is an option");
        assert_eq!(options, Options { channels_last: true, ..Options::default() });
        let error = Options::read(&json!({ "chanels_last": true })).expect_err("no such option").to_string();
        assert!(
            error.contains("`options.chanels_last`") && error.contains("`options.channels_last`"),
            "{error}"
        );
        let error = Options::read(&json!({ "optimize": 1 })).expect_err("it is no number").to_string();
        assert!(error.contains("options.optimize: true or false is expected, not 1"), "{error}");
    }
}
