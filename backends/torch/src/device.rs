//! Which device the networks run on, and in which precision.
//!
//! What is asked for is had or refused; only `auto` chooses, and says why.

use std::path::Path;

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::settings::DeviceChoice;
use lipcast_torch_native::libraries;
use tch::{Cuda, Device};

/// libtorch's GPU half; it brings CUDA's own libraries along.
const GPU_HALF: &str = "libtorch_cuda.so";
/// Its other half, which is mapped before this code is.
const CPU_HALF: &str = "libtorch_cpu.so";

/// The device that `wanted` means here. `library` is libtorch's folder, or empty for
/// the folder of the half that is mapped.
///
/// # Errors
/// When there is no such device.
pub(crate) fn choose(
    wanted: DeviceChoice,
    library: &Path,
    log: &dyn Fn(&str),
) -> Result<Device, NetworkError> {
    choose_from(wanted, || gpus(library), log)
}

/// Its name as a setting: `cpu` or `cuda:N`.
pub(crate) fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

fn choose_from(
    wanted: DeviceChoice,
    gpus: impl FnOnce() -> Result<usize, String>,
    log: &dyn Fn(&str),
) -> Result<Device, NetworkError> {
    let index = match wanted {
        DeviceChoice::Cpu => return Ok(Device::Cpu),
        DeviceChoice::Auto => {
            return Ok(match gpus() {
                Ok(_) => {
                    log("device auto: cuda:0");
                    Device::Cuda(0)
                }
                Err(reason) => {
                    log(&format!("device auto: cpu, since there is no GPU for it: {reason}"));
                    Device::Cpu
                }
            });
        }
        DeviceChoice::Cuda(number) => usize::from(number),
    };
    let unsupported = |text| Err(NetworkError::Unsupported(text));
    match gpus() {
        Ok(count) if index < count => Ok(Device::Cuda(index)),
        Ok(count) => unsupported(format!("device = \"{wanted}\": the last GPU is cuda:{}", count - 1)),
        Err(reason) => unsupported(format!("device = \"{wanted}\": {reason}")),
    }
}

/// How many GPUs libtorch sees, at least one, or why none.
fn gpus(library: &Path) -> Result<usize, String> {
    if mapped(GPU_HALF)?.is_none() {
        let folder = if library.as_os_str().is_empty() {
            let half = mapped(CPU_HALF)?.ok_or_else(|| format!("{CPU_HALF} is not mapped"))?;
            half.parent().map(Path::to_owned).unwrap_or_default()
        } else {
            library.to_owned()
        };
        let half = folder.join(GPU_HALF);
        if !half.is_file() {
            return Err(format!("{} is not there; this libtorch is for the CPU", half.display()));
        }
        libraries::open_globally(&half)?;
    }
    match usize::try_from(Cuda::device_count()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("libtorch finds no GPU; `nvidia-smi` tells whether the driver does".to_owned()),
    }
}

fn mapped(name: &str) -> Result<Option<std::path::PathBuf>, String> {
    libraries::mapped(name).map_err(|error| format!("/proc/self/maps: {error}"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn chosen(wanted: &str, gpus: Result<usize, &str>) -> (Result<Device, String>, Vec<String>) {
        let log = RefCell::new(Vec::new());
        let gpus = gpus.map_err(str::to_owned);
        let device = choose_from(wanted.parse().expect("a device"), || gpus, &|line| {
            log.borrow_mut().push(line.to_owned())
        });
        (device.map_err(|error| error.to_string()), log.into_inner())
    }

    #[test]
    fn what_is_asked_for_is_had_or_refused() {
        assert_eq!(chosen("cpu", Err("none")), (Ok(Device::Cpu), Vec::new()));
        assert_eq!(chosen("cuda", Ok(2)), (Ok(Device::Cuda(0)), Vec::new()));
        assert_eq!(chosen("cuda:1", Ok(2)), (Ok(Device::Cuda(1)), Vec::new()));
        for (wanted, gpus, message) in [
            ("cuda", Err("no driver"), "device = \"cuda\": no driver"),
            ("cuda:2", Ok(2), "device = \"cuda:2\": the last GPU is cuda:1"),
        ] {
            assert_eq!(chosen(wanted, gpus), (Err(message.to_owned()), Vec::new()));
        }
    }

    #[test]
    fn auto_says_what_it_chose_and_why() {
        let (device, log) = chosen("auto", Ok(1));
        assert_eq!((device, &*log), (Ok(Device::Cuda(0)), &["device auto: cuda:0".to_owned()][..]));
        let (device, log) = chosen("auto", Err("no driver"));
        assert_eq!(device, Ok(Device::Cpu));
        assert_eq!(log, ["device auto: cpu, since there is no GPU for it: no driver"]);
    }

    #[test]
    fn the_half_that_is_looked_for_is_named() {
        let error = choose(DeviceChoice::Cuda(0), Path::new("/nowhere"), &|_| ())
            .expect_err("there is none")
            .to_string();
        assert!(error.contains("/nowhere/libtorch_cuda.so"), "{error}");
    }
}
