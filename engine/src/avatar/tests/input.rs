//! Sources that are not what they should be.

use lipcast_codecs::I420;

use super::*;

fn refusal(source: &Path, options: &PrepareOptions) -> String {
    let folder = scratch();
    let store = quick_store(folder.path());
    let result = store.prepare(&id("a"), PrepareSource::File(source.to_owned()), options, &Job::new());
    let error = result.expect_err("a refusal").to_string();
    assert_eq!(names(folder.path()), [""; 0], "nothing is left behind");
    error
}

#[test]
fn files_that_are_no_video_are_refused_in_words() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    assert!(refusal(&path("gone.mp4"), &by_hand()).contains("no such file"));
    fs::write(path("empty.mp4"), b"").unwrap();
    assert!(refusal(&path("empty.mp4"), &by_hand()).contains("empty"));
    fs::write(path("text.mp4"), b"this is not a video\n".repeat(50)).unwrap();
    assert!(refusal(&path("text.mp4"), &by_hand()).contains("text.mp4 is not a video"));
    fs::create_dir(path("folder")).unwrap();
    assert!(refusal(&path("folder"), &by_hand()).contains("no images"));
    write_image(&path("dot.png"), 1, 1, &[9; 3]);
    assert!(refusal(&path("dot.png"), &by_hand()).contains("1x1"));
    write_image(&path("wide.bmp"), 7680, 16, &vec![0; 7680 * 16 * 3]);
    assert!(refusal(&path("wide.bmp"), &by_hand()).contains("7680x16"));
    assert!(refusal(Path::new("/dev/null"), &by_hand()).contains("neither"));
}

#[test]
fn odd_sizes_are_cropped_to_even_ones() {
    let folder = scratch();
    write_image(&folder.path().join("odd.png"), 65, 67, &[80; 65 * 67 * 3]);
    let store = quick_store(&folder.path().join("avatars"));
    let source = PrepareSource::File(folder.path().join("odd.png"));
    let avatar = store.prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    assert_eq!((avatar.size(), avatar.frame_count()), ((64, 66), 1));
    assert_eq!(avatar.playback_index(12_345), 0);
}

/// A phone's photo has more pixels than any encoder takes.
#[test]
fn a_photo_is_scaled_down_until_it_can_be_encoded_and_the_report_says_so() {
    let folder = scratch();
    let photo = folder.path().join("photo.jpg");
    let mut rgb = vec![200; 3024 * 4032 * 3];
    // Black from 1512 pixels on: the middle stays the middle.
    rgb.chunks_exact_mut(3024 * 3).for_each(|row| row[1512 * 3..].fill(0));
    write_image(&photo, 3024, 4032, &rgb);
    let store = quick_store(&folder.path().join("avatars"));
    let options = PrepareOptions { face_box: Some([756.0, 1008.0, 2268.0, 3024.0]), ..by_hand() };
    let (avatar, mut frames) =
        store.prepare_with_frames(&id("a"), PrepareSource::File(photo), &options, &Job::new()).unwrap();
    assert_eq!(avatar.size(), (1080, 1440));
    let config = lipcast_codecs::VideoConfig { width: 1080, height: 1440, fps: (25, 1), bitrate: 2_000_000 };
    let mut encoder = lipcast_codecs::video_encoder(lipcast_codecs::VideoCodec::H264, &config).unwrap();
    let mut first = I420::black(1080, 1440).unwrap();
    avatar.read_frame(0, &mut first).unwrap();
    assert!(encoder.encode(first.as_view(), true).unwrap().key);
    assert_eq!(
        avatar.report().notes,
        ["The source has 3024x4032 pixels; it was scaled down to 1080x1440, which can be encoded live."]
    );
    // The box is made a square with room, but its middle stays.
    let [x0, y0, x1, y1] = avatar.face(0).unwrap().face_box;
    let (x, y) = ((x0 + x1) / 2.0, (y0 + y1) / 2.0);
    assert!(
        (x - 540.0).abs() < 5.0 && (y - 720.0).abs() < 5.0,
        "the box by hand is in pixels of the source: {x} {y}"
    );
    let (mut kept, mut again) = (Vec::new(), Vec::new());
    frames.frame(0, &mut kept).unwrap();
    avatar.open_source().unwrap().frame(0, &mut again).unwrap();
    assert_eq!(kept, again);
    assert!(kept[530 * 3] > 190 && kept[550 * 3] < 10);
}

/// An upload that broke off once counted as whole.
#[test]
fn a_video_that_is_cut_off_says_how_much_of_it_there_is() {
    let folder = scratch();
    let (whole, cut) = (folder.path().join("whole.mp4"), folder.path().join("cut.mp4"));
    let made = std::process::Command::new("ffmpeg")
        .args("-nostdin -v error -f lavfi -i testsrc2=s=160x120:r=25:d=2".split(' '))
        .args("-c:v libx264 -pix_fmt yuv420p -movflags +faststart".split(' '))
        .arg(&whole)
        .status()
        .expect("this test needs ffmpeg (apt-get install ffmpeg)");
    assert!(made.success());
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();

    let store = quick_store(&folder.path().join("avatars"));
    let notes = |path: &Path, max_frames| {
        let (source, options) =
            (PrepareSource::File(path.to_owned()), PrepareOptions { max_frames, ..by_hand() });
        let avatar = store.prepare(&id("a"), source, &options, &Job::new()).unwrap();
        (avatar.frame_count(), avatar.report().notes.clone())
    };
    let (frames, found) = notes(&cut, 1_500);
    let expected =
        format!("The source is cut off; only {frames} of the 50 frames that it declares could be read.");
    assert_eq!(found, [expected]);
    assert_eq!(notes(&whole, 1_500), (50, Vec::new()));
    assert_eq!(notes(&whole, 5).1, ["The source is longer; only its first 5 frames were taken."]);
}

/// A folder that a client names may hold links; what they lead to outside is nobody's avatar.
#[test]
fn links_out_of_an_image_folder_are_refused() {
    let folder = scratch();
    let secret = folder.path().join("secret.png");
    write_image(&secret, 64, 48, &[77; 64 * 48 * 3]);
    let images = pictures(folder.path(), 2, 0);
    std::os::unix::fs::symlink("1.bmp", images.join("2.bmp")).unwrap();
    let store = quick_store(&folder.path().join("avatars"));
    let avatar =
        store.prepare(&id("a"), PrepareSource::File(images.clone()), &by_hand(), &Job::new()).unwrap();
    assert_eq!(avatar.frame_count(), 3, "a link to a file of the folder is that file");
    for target in [secret.as_path(), Path::new("../secret.png")] {
        let link = images.join("3.png");
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert!(refusal(&images, &by_hand()).contains("3.png: a link that leads out of its folder"));
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn a_box_by_hand_has_to_fit_the_picture() {
    let folder = scratch();
    let source = pictures(folder.path(), 1, 0);
    for face_box in [[500.0, 500.0, 600.0, 600.0], [10.0, 10.0, 12.0, 12.0], [f32::NAN, 0.0, 40.0, 40.0]] {
        let options = PrepareOptions { face_box: Some(face_box), ..PrepareOptions::default() };
        assert!(refusal(&source, &options).contains("face box"));
    }
}

#[test]
fn a_missing_landmark_model_names_the_package() {
    let folder = scratch();
    let source = pictures(folder.path(), 1, 0);
    let error = refusal(&source, &PrepareOptions::default());
    assert!(error.contains("apt-get install libdlib-data") && error.contains("name another file"), "{error}");
    let store = quick_store(&folder.path().join("avatars"));
    let avatar = store.prepare(&id("a"), PrepareSource::File(source), &by_hand(), &Job::new()).unwrap();
    let face = avatar.face(0).unwrap();
    let middle = |b: FaceBox| [b[0] + b[2], b[1] + b[3]].map(|sum| (sum / 2.0).round());
    assert_eq!(middle(face.face_box), middle(BY_HAND));
    assert!(face.confidence < 0.5, "a template is a guess");
}

#[test]
fn a_clip_without_a_face_is_refused_unless_a_box_is_given() {
    require_landmark_model();
    let folder = scratch();
    let source = PrepareSource::File(portrait(folder.path(), &[false; 3]));
    let store = AvatarStore::open(folder.path().join("avatars")).unwrap();
    let error = store.prepare(&id("a"), source.clone(), &PrepareOptions::default(), &Job::new()).unwrap_err();
    assert!(error.to_string().contains("no face found in any of 3 frames"), "{error}");
    let options =
        PrepareOptions { face_box: Some([150.0, 190.0, 360.0, 400.0]), ..PrepareOptions::default() };
    let avatar = store.prepare(&id("a"), source, &options, &Job::new()).unwrap();
    assert!(avatar.face(2).is_some());
}

#[test]
fn frames_without_a_face_are_bridged_and_reported() {
    require_landmark_model();
    let folder = scratch();
    let shown = [true, true, false, true, true, true];
    let source = PrepareSource::File(portrait(folder.path(), &shown));
    let store = AvatarStore::open(folder.path().join("avatars")).unwrap();
    let avatar = store.prepare(&id("a"), source, &PrepareOptions::default(), &Job::new()).unwrap();
    let report = avatar.report();
    assert_eq!((report.frames, report.frames_with_face), (6, 5));
    assert!(
        report
            .issues
            .iter()
            .any(|run| { run.issue == crate::face::FrameIssue::NoFace && (run.first, run.last) == (2, 2) })
    );
    assert!(report.notes.iter().any(|note| note.contains("1 of 6")), "{:?}", report.notes);
}

/// What a backend needs for one person lies in the source's folder beside the pictures, and comes along.
#[test]
fn assets_beside_the_images_are_kept_checked_and_mended_with_them() {
    let folder = scratch();
    let source = folder.path().join("anna");
    fs::create_dir_all(source.join("assets")).unwrap();
    write_image(&source.join("1.png"), 64, 64, &[80; 64 * 64 * 3]);
    fs::write(source.join("assets/weights.bin"), b"trained for anna").unwrap();
    fs::write(source.join("assets/.hidden"), b"not taken").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", source.join("assets/outside")).unwrap();
    let store = quick_store(&folder.path().join("avatars"));
    let prepare = || store.prepare(&id("anna"), PrepareSource::File(source.clone()), &by_hand(), &Job::new());
    let error = prepare().expect_err("a link that leads out").to_string();
    assert!(error.contains("outside"), "{error}");
    fs::remove_file(source.join("assets/outside")).unwrap();

    let avatar = prepare().unwrap();
    assert_eq!(avatar.assets().collect::<Vec<_>>(), ["weights.bin"]);
    assert_eq!(&*avatar.asset("weights.bin").unwrap(), b"trained for anna");
    assert!(avatar.asset("other.bin").is_err());

    // Mended from its own source, the avatar has its assets again.
    let frames = avatar.folder.join("frames.i420");
    fs::write(&frames, b"cut").unwrap();
    let mended = store.repair(&id("anna"), &Job::new()).unwrap();
    assert_eq!(&*mended.asset("weights.bin").unwrap(), b"trained for anna");

    fs::write(mended.folder.join("source/images/assets/weights.bin"), b"trained for anne").unwrap();
    assert!(mended.asset("weights.bin").unwrap_err().to_string().contains("altered"));
    assert!(matches!(store.verify(&id("anna")), Err(AvatarError::Damaged { .. })));
}
