//! `faces.bin`: the face of every frame, little-endian.
//!
//! Magic `LCFACES1`, a `u32` count, then 568 bytes a frame: `u32` 1 if there is a face and else 0,
//! then `f32`: confidence, box (4), landmarks (68 × 2).

use crate::face::FrameFace;

const MAGIC: &[u8; 8] = b"LCFACES1";
const RECORD: usize = 4 * (1 + 1 + 4 + 136);

pub(crate) fn encode(faces: &[Option<FrameFace>]) -> Vec<u8> {
    let mut data = Vec::with_capacity(12 + faces.len() * RECORD);
    data.extend_from_slice(MAGIC);
    data.extend_from_slice(&(faces.len() as u32).to_le_bytes());
    for face in faces {
        data.extend_from_slice(&u32::from(face.is_some()).to_le_bytes());
        let mut floats = [0.0_f32; 141];
        if let Some(face) = face {
            floats[0] = face.confidence;
            floats[1..5].copy_from_slice(&face.face_box);
            floats[5..].copy_from_slice(face.landmarks.as_flattened());
        }
        data.extend(floats.iter().flat_map(|value| value.to_le_bytes()));
    }
    data
}

/// Reads what [`encode`] wrote; the error tells what is wrong.
pub(crate) fn decode(data: &[u8], frame_count: usize) -> Result<Vec<Option<FrameFace>>, String> {
    let records = data.strip_prefix(MAGIC.as_slice()).ok_or("it does not begin like a file of faces")?;
    let (count, records) = records.split_at_checked(4).ok_or("it ends too early")?;
    if u32::from_le_bytes([count[0], count[1], count[2], count[3]]) as usize != frame_count
        || records.len() != frame_count * RECORD
    {
        return Err(format!("it does not hold {frame_count} faces"));
    }
    records.chunks_exact(RECORD).map(record).collect()
}

fn record(bytes: &[u8]) -> Result<Option<FrameFace>, String> {
    let word =
        |index: usize| [bytes[index * 4], bytes[index * 4 + 1], bytes[index * 4 + 2], bytes[index * 4 + 3]];
    if u32::from_le_bytes(word(0)) == 0 {
        return Ok(None);
    }
    let float = |index: usize| f32::from_le_bytes(word(index));
    if !(1..142).all(|index| float(index).is_finite()) {
        return Err("a face is not a number".to_owned());
    }
    Ok(Some(FrameFace {
        confidence: float(1),
        face_box: std::array::from_fn(|index| float(2 + index)),
        landmarks: std::array::from_fn(|point| [float(6 + point * 2), float(7 + point * 2)]),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_survive_the_round_trip_and_damage_is_an_error() {
        let face = FrameFace {
            face_box: [1.0, 2.0, 3.5, 4.25],
            landmarks: std::array::from_fn(|point| [point as f32, -0.5 * point as f32]),
            confidence: 0.75,
        };
        let faces = vec![Some(face), None, Some(face)];
        let data = encode(&faces);
        assert_eq!(decode(&data, 3).unwrap(), faces);
        assert!(decode(&data, 2).is_err());
        for length in 0..data.len() {
            assert!(decode(&data[..length], 3).is_err());
        }
        let mut damaged = data.clone();
        damaged[16..20].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(decode(&damaged, 3).is_err());
    }
}
