//! The backend's table, with a call around `infer_batch` that spoils results in ways which the SDK rules out.
#![allow(unsafe_code, reason = "what is wrong here cannot be said in safe Rust: that is the point of it")]

use std::cell::RefCell;
use std::sync::OnceLock;

use lipcast_plugins_api::abi;
use lipcast_plugins_api::author::{LinkedPlugin, plugin_table};

use crate::ChaosBackend;
use crate::fault::Wrong;

thread_local! {
    /// What the running batch wants spoiled: index of the request, and how.
    static SPOILT: RefCell<Vec<(usize, Wrong)>> = const { RefCell::new(Vec::new()) };
}

/// The descriptor of this backend, made at the first call.
pub fn plugin() -> LinkedPlugin {
    static PLUGIN: OnceLock<LinkedPlugin> = OnceLock::new();
    *PLUGIN.get_or_init(|| {
        let honest = plugin_table::<ChaosBackend>().as_ptr();
        // SAFETY: the SDK's descriptor and its table are static and never written.
        let (plugin, table) = unsafe { (&*honest, &*(*honest).backend) };
        let backend = Box::leak(Box::new(abi::Backend { infer_batch: Some(infer_batch), ..*table }));
        let plugin = Box::leak(Box::new(abi::Plugin { backend, ..*plugin }));
        // SAFETY: the SDK's descriptor, but for one call with the same signature and contract; leaked.
        unsafe { LinkedPlugin::from_static(plugin) }
    })
}

/// Spoils request `index` of the running batch once it is drawn.
pub(crate) fn spoil(index: usize, wrong: Wrong) {
    SPOILT.with_borrow_mut(|spoilt| spoilt.push((index, wrong)));
}

unsafe extern "C" fn infer_batch(
    instance: *mut abi::Instance,
    requests: *const *mut abi::Request,
    count: u32,
    status: *mut abi::Status,
) -> i32 {
    // SAFETY: the SDK's descriptor and its table are static.
    let honest = unsafe { (*(*plugin_table::<ChaosBackend>().as_ptr()).backend).infer_batch };
    // SAFETY: handed on as they came; the SDK's table always has the call.
    let code = honest.map_or(abi::INTERNAL, |call| unsafe { call(instance, requests, count, status) });
    for (index, wrong) in SPOILT.take() {
        // SAFETY: the index is below `count`, and the requests are ours until this call returns.
        let request = unsafe { &mut **requests.add(index) };
        match wrong {
            Wrong::OddRect => request.rect.x += 1,
            Wrong::UnknownFormat => request.format = 77,
            Wrong::Frame => request.avatar_frame_used = u32::MAX,
            Wrong::Status => {
                request.status.code = -4711;
                request.status.message.fill(b'!');
            }
            _ => {}
        }
    }
    code
}
