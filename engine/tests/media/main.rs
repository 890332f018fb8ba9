//! Media files through the public interface. The files are made on the spot by `ffmpeg`, which preparing
//! avatars needs anyway.

mod support;

mod video;

mod images;

mod speech;

mod damage;

mod mp4;
