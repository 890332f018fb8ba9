//! A description of every table, made by the macro that defines it, and the fingerprint over all of them.
//!
//! The fingerprint is FNV-1a over struct names, field names, types and offsets, blanks left out. Only the
//! fields up to a given minor count, so a host can compare with a plugin older than itself.

use super::tables::STRUCTS;

/// One field of a table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name, as in the header.
    pub name: &'static str,
    /// Type, as the tokens of the Rust twin.
    pub ty: &'static str,
    /// Bytes from the start of the table.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// The minor version that added it.
    pub since: u32,
}

/// One table.
#[derive(Clone, Copy, Debug)]
pub struct StructLayout {
    /// Name in the header.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
    /// In order of offset.
    pub fields: &'static [Field],
}

/// A table that knows its own layout.
pub trait Layout: Copy {
    /// Name, size and fields.
    const LAYOUT: StructLayout;
}

/// The fingerprint of all tables as they were at `minor`.
pub const fn fingerprint(minor: u32) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut s = 0;
    while s < STRUCTS.len() {
        let layout = &STRUCTS[s];
        // A table that came later has all its fields in its `since` block.
        if layout.fields[0].since > minor {
            s += 1;
            continue;
        }
        hash = mix_text(hash, layout.name);
        hash = mix(hash, layout.align as u64);
        let mut f = 0;
        while f < layout.fields.len() {
            let field = &layout.fields[f];
            if field.since <= minor {
                hash = mix_text(hash, field.name);
                hash = mix_text(hash, field.ty);
                hash = mix(hash, field.offset as u64);
                hash = mix(hash, field.size as u64);
            }
            f += 1;
        }
        s += 1;
    }
    hash
}

/// Every table the fingerprint covers, in the order of the header.
pub const fn structs() -> &'static [StructLayout] {
    STRUCTS
}

/// All tables as text, one field a line; `abi-fingerprint.txt` holds it.
pub fn dump() -> String {
    use std::fmt::Write;
    let mut out = format!("contract {}.{}\n", super::API_MAJOR, super::API_MINOR);
    for minor in 0..=super::API_MINOR {
        let _ = writeln!(out, "fingerprint {}.{minor} {:#018x}", super::API_MAJOR, fingerprint(minor));
    }
    for layout in STRUCTS {
        let _ = writeln!(out, "\n{} size {} align {}", layout.name, layout.size, layout.align);
        for field in layout.fields {
            let ty: String = field.ty.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(
                out,
                "  {:>3} +{:<3} {} : {} (since {})",
                field.offset, field.size, field.name, ty, field.since
            );
        }
    }
    out
}

const fn mix_byte(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

const fn mix(mut hash: u64, value: u64) -> u64 {
    let bytes = value.to_le_bytes();
    let mut i = 0;
    while i < bytes.len() {
        hash = mix_byte(hash, bytes[i]);
        i += 1;
    }
    hash
}

/// Blanks are left out: how `stringify!` spaces tokens is the compiler's business.
const fn mix_text(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if !bytes[i].is_ascii_whitespace() {
            hash = mix_byte(hash, bytes[i]);
        }
        i += 1;
    }
    mix_byte(hash, 0)
}

/// Defines a `repr(C)` table together with its [`Layout`] and an assertion of its size.
///
/// Types stand in brackets so that their tokens can be written into the fingerprint as they are.
macro_rules! table {
    (
        $(#[$doc:meta])*
        $name:ident = $c_name:literal, $size:literal bytes {
            $( $(#[$fdoc:meta])* $field:ident: [$($ty:tt)+], )*
        }
        $( since $minor:literal { $( $(#[$ldoc:meta])* $later:ident: [$($lty:tt)+], )* } )?
    ) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            $( $(#[$fdoc])* pub $field: $($ty)+, )*
            $( $( $(#[$ldoc])* pub $later: $($lty)+, )* )?
        }

        const _: () = assert!(size_of::<$name>() == $size, concat!($c_name, " changed its size"));

        impl $crate::abi::Layout for $name {
            const LAYOUT: $crate::abi::StructLayout = $crate::abi::StructLayout {
                name: $c_name,
                size: size_of::<$name>(),
                align: align_of::<$name>(),
                fields: &[
                    $( $crate::abi::Field {
                        name: stringify!($field),
                        ty: stringify!($($ty)+),
                        offset: std::mem::offset_of!($name, $field),
                        size: size_of::<$($ty)+>(),
                        since: 0,
                    }, )*
                    $( $( $crate::abi::Field {
                        name: stringify!($later),
                        ty: stringify!($($lty)+),
                        offset: std::mem::offset_of!($name, $later),
                        size: size_of::<$($lty)+>(),
                        since: $minor,
                    }, )* )?
                ],
            };
        }
    };
}
pub(super) use table;
