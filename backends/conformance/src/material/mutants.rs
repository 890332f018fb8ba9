//! Blobs with something wrong, as a bad disk or a bad neighbour leaves them.

use super::Dice;

/// A damaged blob and how it came about.
pub(crate) struct Mutant {
    pub(crate) bytes: Vec<u8>,
    /// For people, like "cut after 17 of 4096 bytes".
    pub(crate) what: String,
    /// Whether no backend can take it for its own.
    pub(crate) hopeless: bool,
}

/// `count` mutants of `blob`: empty, one byte, foreign, then cut, lengthened, flipped and overwritten ones by `seed`.
/// Most damage is done near the start, where the lengths and counts stand.
pub(crate) fn mutants(blob: &[u8], count: usize, seed: u64) -> Vec<Mutant> {
    let mut dice = Dice::new(seed);
    let len = blob.len();
    let whole = |what: &str, bytes: Vec<u8>| Mutant { bytes, what: what.into(), hopeless: true };
    let mut made = vec![
        whole("an empty blob", Vec::new()),
        whole("a blob of one byte", vec![blob.first().copied().unwrap_or(7)]),
        whole("the blob of another backend", b"LIPCAST-CONFORMANCE: nobody's blob. ".repeat(40)),
        whole("as many zeros as the blob has bytes", vec![0; len]),
        whole("as many 0xFF as the blob has bytes", vec![0xFF; len]),
    ];
    while made.len() < count && len > 0 {
        let mut bytes = blob.to_vec();
        let near = len.min(if dice.below(4) == 0 { len } else { 128 });
        let at = dice.below(near);
        let (what, hopeless) = match dice.below(5) {
            0 => {
                let keep = if dice.below(2) == 0 { at } else { len - 1 - dice.below(len.min(64)) };
                bytes.truncate(keep);
                (format!("the blob cut after {keep} of {len} bytes"), false)
            }
            1 => {
                let bit = dice.below(8);
                bytes[at] ^= 1 << bit;
                (format!("bit {bit} of byte {at} flipped"), false)
            }
            2 => {
                let value = [0, 0x7F, 0x80, 0xFF][dice.below(4)];
                let end = (at + 1 + dice.below(8)).min(len);
                bytes[at..end].fill(value);
                (format!("bytes {at} to {} set to {value:#04x}", end - 1), false)
            }
            3 => {
                let extra = 1 + dice.below(300);
                bytes.extend((0..extra).map(|_| dice.roll() as u8));
                (format!("{extra} bytes appended"), false)
            }
            _ => {
                for _ in 0..1 + dice.below(16) {
                    let at = dice.below(near);
                    bytes[at] = dice.roll() as u8;
                }
                (format!("some of the first {near} bytes overwritten"), false)
            }
        };
        made.push(Mutant { bytes, what, hopeless });
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_repeat_and_are_damaged() {
        let blob: Vec<u8> = (0..=255).collect();
        let (a, b) = (mutants(&blob, 200, 5), mutants(&blob, 200, 5));
        assert_eq!(a.len(), 200);
        assert!(a.iter().zip(&b).all(|(a, b)| a.bytes == b.bytes && a.what == b.what));
        let same = a.iter().filter(|mutant| mutant.bytes == blob).count();
        assert!(same <= 10, "{same} of 200 are the blob itself");
        assert_eq!(mutants(&[], 200, 5).len(), 5);
    }
}
