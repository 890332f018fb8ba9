//! Speech to faces in one go, against the networks one by one.

use lipcast_musetalk::networks::{FACE, FACE_BYTES, Network};
use lipcast_musetalk::{NetworkError, Networks, Tensor};

use crate::common::{folder, nano, noise, open, settings, speech};

#[test]
fn frames_are_the_decoders_pictures_rounded_to_bytes() {
    let mut networks = nano();
    assert_eq!(networks.device().buckets, [1, 3]);
    for batch in [1, 3, 1] {
        let [latents, audio] = speech(7, batch);
        let mut frames = vec![0; batch * FACE_BYTES];
        networks.generate(&latents.data, &audio.data, &mut frames).unwrap();

        let latent = networks.run(Network::Unet, &[latents, audio]).unwrap();
        let [image] = &networks.run(Network::VaeDecoder, &latent).unwrap()[..] else { panic!("one output") };
        assert_eq!(image.shape, [batch, 3, FACE, FACE]);
        assert!(frames == to_bytes(image), "batch {batch}");
        // Faces, not one grey.
        assert!(frames.iter().any(|&byte| byte < 64) && frames.iter().any(|&byte| byte > 192));
    }
}

#[test]
fn items_of_a_batch_are_independent() {
    let mut networks = nano();
    let [latents, audio] = speech(11, 3);
    let mut together = vec![0; 3 * FACE_BYTES];
    networks.generate(&latents.data, &audio.data, &mut together).unwrap();
    let items = latents.data.chunks(latents.data.len() / 3).zip(audio.data.chunks(audio.data.len() / 3));
    for (together, (latents, audio)) in together.chunks(FACE_BYTES).zip(items) {
        let mut alone = vec![0; FACE_BYTES];
        networks.generate(latents, audio, &mut alone).unwrap();
        // Sums are taken in another order; a value on the edge between two bytes may go either way.
        assert!(alone.iter().zip(together).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
}

#[test]
fn the_layout_of_weights_changes_nothing_but_the_order_of_sums() {
    let options = serde_json::json!({ "channels_last": true, "optimize": false });
    let mut other =
        open(&folder("nano"), &lipcast_musetalk::settings::RuntimeSettings { options, ..settings() })
            .unwrap();
    let [latents, audio] = speech(13, 1);
    let mut frames = [vec![0; FACE_BYTES], vec![0; FACE_BYTES]];
    nano().generate(&latents.data, &audio.data, &mut frames[0]).unwrap();
    other.generate(&latents.data, &audio.data, &mut frames[1]).unwrap();
    assert!(frames[0].iter().zip(&frames[1]).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn numbers_that_are_none_are_told_by_the_network_that_made_them() {
    let mut networks = nano();
    let [latents, mut audio] = speech(3, 1);
    let mut frames = vec![0; FACE_BYTES];
    audio.data[100] = f32::NAN;
    let expected = NetworkError::BadOutput("unet gave NaN or infinity".to_owned());
    assert_eq!(networks.generate(&latents.data, &audio.data, &mut frames), Err(expected.clone()));
    assert_eq!(networks.run(Network::Unet, &[latents.clone(), audio.clone()]), Err(expected));

    // One bad batch spoils no other.
    audio.data[100] = 0.0;
    networks.generate(&latents.data, &audio.data, &mut frames).unwrap();
}

#[test]
fn other_batch_sizes_and_lengths_are_refused() {
    let mut networks = nano();
    let [latents, audio] = speech(3, 2);
    let error = networks.generate(&latents.data, &audio.data, &mut vec![0; 2 * FACE_BYTES]).unwrap_err();
    assert_eq!(error.to_string(), "a batch of 2 frames; the batch sizes are [1, 3]");
    let error = networks.generate(&latents.data, &audio.data, &mut vec![0; FACE_BYTES]).unwrap_err();
    assert!(error.to_string().contains("for a batch of 1 frames"), "{error}");
}

#[test]
fn what_preparation_holds_can_be_given_back() {
    let mut networks = nano();
    let image = noise(5, &[1, 3, FACE, FACE]);
    let before = networks.run(Network::VaeEncoder, std::slice::from_ref(&image)).unwrap();
    networks.release();
    assert_eq!(networks.run(Network::VaeEncoder, &[image]).unwrap(), before);
}

/// `[B, 3, 256, 256]` in 0…1 as `[B, 256, 256, 3]` bytes, halves to even.
fn to_bytes(image: &Tensor) -> Vec<u8> {
    let plane = FACE * FACE;
    let byte = |value: f32| (value * 255.0).round_ties_even().clamp(0.0, 255.0) as u8;
    let pixels = |item: &[f32]| {
        (0..plane)
            .flat_map(|pixel| [0, 1, 2].map(|channel| byte(item[channel * plane + pixel])))
            .collect::<Vec<_>>()
    };
    image.data.chunks(3 * plane).flat_map(pixels).collect()
}
