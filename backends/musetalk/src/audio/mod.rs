//! From PCM to the audio tokens of a video frame.
