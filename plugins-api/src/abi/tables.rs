//! The tables themselves, in the order of the header.

use std::ffi::c_void;

use super::layout::{Layout, StructLayout, table};

/// One loaded backend with its weights; made by the plugin, opaque to the host.
#[repr(C)]
#[derive(Debug)]
pub struct Instance {
    _opaque: [u8; 0],
}

/// A person loaded into an instance; made by the plugin, opaque to the host.
#[repr(C)]
#[derive(Debug)]
pub struct Avatar {
    _opaque: [u8; 0],
}

/// The state of one performance; made by the plugin, opaque to the host.
#[repr(C)]
#[derive(Debug)]
pub struct Session {
    _opaque: [u8; 0],
}

/// A long call in progress; made by the host, opaque to the plugin.
#[repr(C)]
#[derive(Debug)]
pub struct Operation {
    _opaque: [u8; 0],
}

/// Where a prepared blob goes; made by the host, opaque to the plugin.
#[repr(C)]
#[derive(Debug)]
pub struct Sink {
    _opaque: [u8; 0],
}

table! {
    /// UTF-8 text, not terminated. `ptr` may be null when `len` is 0.
    Str = "lipcast_str", 16 bytes {
        /// First byte.
        ptr: [*const u8],
        /// Bytes.
        len: [u64],
    }
}

table! {
    /// Bytes that the callee only reads. `ptr` may be null when `len` is 0.
    Bytes = "lipcast_bytes", 16 bytes {
        /// First byte.
        ptr: [*const u8],
        /// Bytes.
        len: [u64],
    }
}

table! {
    /// How a call ended. The caller sets `struct_size` and zeroes the rest; the callee fills it.
    Status = "lipcast_status", 256 bytes {
        /// Bytes of this struct as the caller knows it.
        struct_size: [u32],
        /// One of the status codes.
        code: [i32],
        /// 1: the same call may succeed later.
        retryable: [u32],
        /// Zero.
        reserved: [u32],
        /// UTF-8, ended by a zero byte, without line breaks.
        message: [[u8; 240]],
    }
}

table! {
    /// Text the callee writes into memory of the caller.
    Text = "lipcast_text", 32 bytes {
        /// Bytes of this struct as the caller knows it.
        struct_size: [u32],
        /// Zero.
        reserved: [u32],
        /// Where to write.
        ptr: [*mut u8],
        /// Bytes there are.
        capacity: [u64],
        /// Out: bytes of the whole text; larger than `capacity` if it did not fit.
        length: [u64],
    }
}

table! {
    /// Pixels of the canvas.
    Rect = "lipcast_rect", 16 bytes {
        /// Left edge.
        x: [u32],
        /// Top edge.
        y: [u32],
        /// Columns.
        width: [u32],
        /// Rows.
        height: [u32],
    }
}

table! {
    /// A source frame: RGB24, full-range sRGB, rows from the top.
    RgbFrame = "lipcast_rgb_frame", 32 bytes {
        /// Bytes of this struct as the caller knows it.
        struct_size: [u32],
        /// Columns.
        width: [u32],
        /// Rows.
        height: [u32],
        /// Bytes from one row to the next.
        stride: [u32],
        /// First byte.
        data: [*const u8],
        /// Bytes.
        data_len: [u64],
    }
}

table! {
    /// What a loaded avatar is.
    AvatarInfo = "lipcast_avatar_info", 56 bytes {
        /// Bytes of this struct as the caller knows it.
        struct_size: [u32],
        /// Canvas columns, even.
        canvas_width: [u32],
        /// Canvas rows, even.
        canvas_height: [u32],
        /// Frames per `fps_den` seconds.
        fps_num: [u32],
        /// Seconds.
        fps_den: [u32],
        /// Avatar frames; 0: the backend draws without source frames.
        frame_count: [u32],
        /// Every result lies inside.
        max_rect: [Rect],
        /// Results the backend likes to have in flight; 0: the host chooses.
        slots: [u32],
        /// `IDLE_HOST` or `IDLE_BACKEND`.
        idle: [u32],
        /// `REST_ASK` or `REST_AT_ONCE`.
        rest_policy: [u32],
        /// Zero.
        reserved: [u32],
    }
}

table! {
    /// Where the patch of an avatar frame lies and how it is blended.
    FrameMask = "lipcast_frame_mask", 40 bytes {
        /// Bytes of this struct as the caller knows it.
        struct_size: [u32],
        /// Zero.
        reserved: [u32],
        /// Even-aligned; empty: nothing is painted on this frame.
        rect: [Rect],
        /// `width`·`height` bytes, rows packed, 255 = patch; null: opaque.
        alpha: [*const u8],
        /// Bytes.
        alpha_len: [u64],
    }
}

table! {
    /// What a session is opened for.
    SessionParams = "lipcast_session_params", 40 bytes {
        /// Bytes of this struct as the caller knows it.
        struct_size: [u32],
        /// `MODE_LIVE` or `MODE_WHOLE`.
        mode: [u32],
        /// Canvas columns.
        canvas_width: [u32],
        /// Canvas rows.
        canvas_height: [u32],
        /// Video frames per `fps_den` seconds.
        fps_num: [u32],
        /// Seconds.
        fps_den: [u32],
        /// A JSON object; empty text: none.
        params_json: [Str],
    }
}

table! {
    /// One video frame asked of one session, and its result.
    Request = "lipcast_request", 352 bytes {
        /// Bytes of this struct as the host knows it.
        struct_size: [u32],
        /// The session's epoch since its last reset.
        epoch: [u32],
        /// Whose frame.
        session: [*mut Session],
        /// Counts the session's requests.
        seq: [u64],
        /// Video frame k of the session's timeline.
        frame: [u64],
        /// Avatar frame j it is shown on.
        avatar_frame: [u32],
        /// `REQUEST_*`.
        flags: [u32],
        /// When the result is of no more use, in the host's `now_ns`; 0: never.
        deadline_ns: [u64],
        /// Host memory for the picture, 64-byte aligned.
        slot: [*mut u8],
        /// Bytes: at least 4·w·h of `max_rect`.
        slot_len: [u64],
        /// Out: how this request ended.
        status: [Status],
        /// Out: where the picture goes.
        rect: [Rect],
        /// Out: `FORMAT_*`.
        format: [u32],
        /// Out: `ALPHA_*`.
        alpha: [u32],
        /// Out: `RESULT_*`.
        result_flags: [u32],
        /// Out: the avatar frame really used.
        avatar_frame_used: [u32],
    }
}

table! {
    /// How an instance feels.
    Health = "lipcast_health", 256 bytes {
        /// Bytes of this struct as the caller knows it.
        struct_size: [u32],
        /// `HEALTH_*`.
        state: [u32],
        /// UTF-8, ended by a zero byte.
        message: [[u8; 248]],
    }
}

table! {
    /// Services of the host; lives until `destroy` returns.
    Host = "lipcast_host", 80 bytes {
        /// Bytes of this table as the host knows it.
        struct_size: [u32],
        /// The host's contract.
        api_major: [u32],
        /// The host's contract.
        api_minor: [u32],
        /// Zero.
        reserved: [u32],
        /// First argument of every function.
        ctx: [*mut c_void],
        /// Monotonic nanoseconds; deadlines are in this clock.
        now_ns: [unsafe extern "C" fn(ctx: *mut c_void) -> u64],
        /// One line of log; `fields_json` is an object or empty.
        log: [unsafe extern "C" fn(
            ctx: *mut c_void, level: u32, target: Str, message: Str, fields_json: Str
        )],
        /// 1 when the host wants this operation to end.
        is_cancelled: [unsafe extern "C" fn(ctx: *mut c_void, operation: *const Operation) -> u32],
        /// 0 to 1000.
        progress: [unsafe extern "C" fn(
            ctx: *mut c_void, operation: *const Operation, permille: u32, stage: Str
        )],
        /// Appends to a blob.
        blob_write: [unsafe extern "C" fn(ctx: *mut c_void, sink: *mut Sink, data: Bytes) -> i32],
        /// A measurement.
        metric: [unsafe extern "C" fn(
            ctx: *mut c_void, name: Str, kind: u32, value: f64, labels_json: Str
        )],
        /// A named table of the host, or null.
        get_extension: [unsafe extern "C" fn(ctx: *mut c_void, id: Str) -> *const c_void],
    }
}

table! {
    /// What an avatar is prepared from; lives until `prepare_avatar` returns.
    AvatarSource = "lipcast_avatar_source", 80 bytes {
        /// Bytes of this table as the host knows it.
        struct_size: [u32],
        /// Source frames; may be 0.
        frame_count: [u32],
        /// Columns of every frame; the canvas.
        width: [u32],
        /// Rows of every frame.
        height: [u32],
        /// Frames per `fps_den` seconds.
        fps_num: [u32],
        /// Seconds.
        fps_den: [u32],
        /// Named files beside the frames.
        asset_count: [u32],
        /// Zero.
        reserved: [u32],
        /// First argument of every function.
        ctx: [*mut c_void],
        /// A frame, valid until the next `get_frame`.
        get_frame: [unsafe extern "C" fn(
            ctx: *mut c_void, index: u32, out: *mut RgbFrame, status: *mut Status
        ) -> i32],
        /// 68 points x, y in pixels, iBUG order.
        get_landmarks: [unsafe extern "C" fn(ctx: *mut c_void, index: u32, out: *mut [f32; 136]) -> i32],
        /// x0, y0, x1, y1 in pixels.
        get_face_box: [unsafe extern "C" fn(ctx: *mut c_void, index: u32, out: *mut [f32; 4]) -> i32],
        /// The name of asset `index`.
        asset_name: [unsafe extern "C" fn(ctx: *mut c_void, index: u32, out: *mut Str) -> i32],
        /// The bytes of a named asset.
        open_asset: [unsafe extern "C" fn(
            ctx: *mut c_void, name: Str, out: *mut Bytes, status: *mut Status
        ) -> i32],
    }
}

table! {
    /// The calls of a backend.
    Backend = "lipcast_backend", 136 bytes {
        /// Bytes of this table as the plugin knows it.
        struct_size: [u32],
        /// Zero.
        reserved: [u32],
        /// Loads weights.
        create: [Option<unsafe extern "C" fn(
            host: *const Host, config_json: Str, operation: *const Operation,
            out: *mut *mut Instance, status: *mut Status
        ) -> i32>],
        /// Ends an instance.
        destroy: [Option<unsafe extern "C" fn(instance: *mut Instance)>],
        /// The effective device, precision and batch sizes as JSON.
        describe: [Option<unsafe extern "C" fn(instance: *mut Instance, out: *mut Text, status: *mut Status) -> i32>],
        /// Source in, blob out.
        prepare_avatar: [Option<unsafe extern "C" fn(
            instance: *mut Instance, source: *const AvatarSource, params_json: Str,
            sink: *mut Sink, operation: *const Operation, status: *mut Status
        ) -> i32>],
        /// Blob in, avatar out.
        load_avatar: [Option<unsafe extern "C" fn(
            instance: *mut Instance, blob: Bytes, out: *mut *mut Avatar, status: *mut Status
        ) -> i32>],
        /// Ends an avatar.
        unload_avatar: [Option<unsafe extern "C" fn(avatar: *mut Avatar)>],
        /// Canvas, rate, rectangles.
        avatar_info: [Option<unsafe extern "C" fn(
            avatar: *mut Avatar, out: *mut AvatarInfo, status: *mut Status
        ) -> i32>],
        /// Rect and alpha of an avatar frame.
        frame_mask: [Option<unsafe extern "C" fn(
            avatar: *mut Avatar, frame: u32, out: *mut FrameMask, status: *mut Status
        ) -> i32>],
        /// Begins a performance.
        open_session: [Option<unsafe extern "C" fn(
            instance: *mut Instance, avatar: *mut Avatar, params: *const SessionParams,
            out: *mut *mut Session, status: *mut Status
        ) -> i32>],
        /// Ends a performance.
        close_session: [Option<unsafe extern "C" fn(session: *mut Session)>],
        /// Appends 16 kHz mono PCM.
        push_audio: [Option<unsafe extern "C" fn(
            session: *mut Session, first_sample: u64, pcm: *const f32, count: u64,
            flags: u32, status: *mut Status
        ) -> i32>],
        /// Drops audio and motion; a new epoch begins.
        reset: [Option<unsafe extern "C" fn(session: *mut Session, epoch: u32, status: *mut Status) -> i32>],
        /// Draws frames.
        infer_batch: [Option<unsafe extern "C" fn(
            instance: *mut Instance, requests: *const *mut Request, count: u32, status: *mut Status
        ) -> i32>],
        /// How it feels.
        health: [Option<unsafe extern "C" fn(instance: *mut Instance, out: *mut Health)>],
        /// Counters as JSON.
        stats: [Option<unsafe extern "C" fn(instance: *mut Instance, out: *mut Text, status: *mut Status) -> i32>],
        /// A named table of the plugin, or null.
        get_extension: [Option<unsafe extern "C" fn(id: Str) -> *const c_void>],
    }
}

table! {
    /// What the entry hands out: static data of the plugin.
    Plugin = "lipcast_plugin", 160 bytes {
        /// `MAGIC`.
        magic: [u32],
        /// Bytes of this struct as the plugin knows it.
        struct_size: [u32],
        /// The contract it was built against.
        api_major: [u32],
        /// The contract it was built against.
        api_minor: [u32],
        /// Fingerprint of the tables up to `api_minor`.
        abi_fingerprint: [u64],
        /// "org.example.wav2lip".
        id: [Str],
        /// For people.
        name: [Str],
        /// Of the plugin.
        version: [Str],
        /// Who made it.
        vendor: [Str],
        /// SPDX expression.
        license: [Str],
        /// Where it lives.
        url: [Str],
        /// A JSON object.
        capabilities_json: [Str],
        /// Why `backend` is null.
        declined: [Str],
        /// The calls; null: declined.
        backend: [*const Backend],
    }
}

table! {
    /// The draft extension `draft.control/1`.
    ControlDraft1 = "lipcast_control_draft1", 16 bytes {
        /// Bytes of this table as the plugin knows it.
        struct_size: [u32],
        /// Zero.
        reserved: [u32],
        /// A JSON message to a session.
        control: [Option<unsafe extern "C" fn(session: *mut Session, json: Str, status: *mut Status) -> i32>],
    }
}

/// Every table whose layout the fingerprint covers. Drafts are left out: they may change.
pub(super) const STRUCTS: &[StructLayout] = &[
    Str::LAYOUT,
    Bytes::LAYOUT,
    Status::LAYOUT,
    Text::LAYOUT,
    Rect::LAYOUT,
    RgbFrame::LAYOUT,
    AvatarInfo::LAYOUT,
    FrameMask::LAYOUT,
    SessionParams::LAYOUT,
    Request::LAYOUT,
    Health::LAYOUT,
    Host::LAYOUT,
    AvatarSource::LAYOUT,
    Backend::LAYOUT,
    Plugin::LAYOUT,
];
