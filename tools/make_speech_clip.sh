#!/usr/bin/env bash
# Makes the built-in speech clip, engine/src/audio/assets/welcome.ogg, from the text below.
#
# Needs: flite (with the voice slt), sox, ffmpeg with libopus. Debian: apt-get install flite sox ffmpeg
# The voice is CMU's US English female "slt" (cmu_us_slt), as shipped with flite. Its licence lets anyone
# use, copy, change and sell it and what is made with it, free of charge, with the notice kept:
# Copyright (c) Carnegie Mellon University; see /usr/share/doc/flite/copyright. The words are our own.
#
# The same tools give the same file: nothing here is random, and no date is written into it.
set -euo pipefail

text="Hello, and welcome! My name is Linh. \
A small program paints me, and moves my lips to match this voice, frame by frame. \
Choose another face, or bring your own words, and I will speak them, live."
out="${1:-$(dirname "$0")/../engine/src/audio/assets/welcome.ogg}"
loudness=-19 # LUFS

work="$(mktemp -d)"
trap 'rm -r "$work"' EXIT

flite -voice slt --setf duration_stretch=1.02 -t "$text" -o "$work/voice.wav"

# Trim both ends; less rumble, nasal and boxy tone; a little more air; the trace of a room.
sox -R -D "$work/voice.wav" -r 48000 "$work/warm.wav" gain -6 \
  silence 1 0.01 0.6% reverse silence 1 0.01 0.6% reverse \
  highpass 75 equalizer 320 1.2q -1.5 equalizer 950 1.4q -1.5 equalizer 3600 1.0q +2.5 treble +3 5500 \
  compand 0.008,0.12 -60,-60,-30,-24,-12,-10,0,-5 0 -90 0.01 \
  reverb 9 60 22 30 4 -4 remix -

# Bring it to the loudness, hold the peaks, and give it 0.2 s of silence at each end.
measured="$(ffmpeg -hide_banner -nostats -i "$work/warm.wav" -af ebur128 -f null - 2>&1 |
  awk '/Integrated loudness/ {found = 1} found && $1 == "I:" {print $2; exit}')"
gain="$(awk -v want="$loudness" -v have="$measured" 'BEGIN {printf "%.2f", want - have}')"
sox -R -D "$work/warm.wav" -b 16 "$work/clip.wav" gain -l "$gain" fade t 0.005 -0 0.03 pad 0.2 0.2

ffmpeg -hide_banner -loglevel error -y -i "$work/clip.wav" -map_metadata -1 -fflags +bitexact -flags:a +bitexact \
  -c:a libopus -application voip -b:a 40k -ac 1 "$out"

echo "$out: $(stat -c %s "$out") bytes"
ffmpeg -hide_banner -nostats -i "$out" -af ebur128=peak=true -f null - 2>&1 |
  tail -n 12 | awk '/I:|Peak:/'
