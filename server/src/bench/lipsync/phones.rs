//! Speech whose phone times are known: text spoken by flite, which prints them.
//!
//! Out: a 16 kHz mono WAV file and [`Phone`]s in seconds from its start. `espeak-ng` is no alternative: its command
//! prints phone times for mbrola voices only.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// One phone, in flite's names (`aa`, `iy`, `p`, `pau`, ...).
#[derive(Debug, Clone, PartialEq)]
pub struct Phone {
    /// flite's name.
    pub name: String,
    /// Start, seconds.
    pub start: f64,
    /// End, seconds.
    pub end: f64,
}

/// What is known about a spoken text.
#[derive(Debug, Clone, PartialEq)]
pub struct SpokenText {
    /// The WAV file, 16 kHz mono.
    pub audio: PathBuf,
    /// Its phones in order, without gaps.
    pub phones: Vec<Phone>,
}

/// Why there are no phones.
#[derive(Debug, Error)]
pub enum PhoneError {
    /// The program is not there.
    #[error(
        "flite is not installed: speech with known phone times needs it (Debian: `apt-get install flite`)"
    )]
    Missing,
    /// The program could not be run.
    #[error("flite could not be started: {0}")]
    Start(std::io::Error),
    /// The program said no; flite names an unknown voice in its own words.
    #[error("flite did not speak with voice {voice:?}: {message}")]
    Failed {
        /// The voice asked for.
        voice: String,
        /// What flite wrote to its error stream, one line.
        message: String,
    },
    /// The output is not `phone:end phone:end ...`.
    #[error("flite printed {found:?} where `phone:end_second` was expected")]
    Output {
        /// The piece that could not be read.
        found: String,
    },
}

/// Speaks `text` with a flite voice (`slt`, `rms`, `awb`, `kal16`) into `audio` (WAV), and returns the phones' times.
///
/// Full stops are read as commas: flite starts its clock anew at each sentence.
pub fn speak(text: &str, voice: &str, audio: &Path) -> Result<SpokenText, PhoneError> {
    let output = Command::new("flite")
        .args(["-voice", voice, "-psdur", "-t", &one_sentence(text), "-o"])
        .arg(audio)
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => PhoneError::Missing,
            _ => PhoneError::Start(error),
        })?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let phones = parse(&printed)?;
    if !output.status.success() || phones.is_empty() {
        let message = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        return Err(PhoneError::Failed { voice: voice.to_owned(), message });
    }
    Ok(SpokenText { audio: audio.to_owned(), phones })
}

/// flite starts its clock anew at each sentence; commas keep the pauses and one clock.
fn one_sentence(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let joined: String = words
        .trim_end_matches(['.', '!', '?', ';', ':', ' '])
        .chars()
        .map(|c| if matches!(c, '.' | '!' | '?' | ';' | ':') { ',' } else { c })
        .collect();
    format!("{joined}.")
}

/// Reads `pau:0.193 b:0.224 aa:0.417`: each phone with the second it ends at.
pub fn parse(printed: &str) -> Result<Vec<Phone>, PhoneError> {
    let mut at = 0.0;
    printed
        .split_whitespace()
        .map(|piece| {
            let wrong = || PhoneError::Output { found: piece.to_owned() };
            let (name, end) = piece.rsplit_once(':').ok_or_else(wrong)?;
            let end: f64 = end.parse().map_err(|_| wrong())?;
            if name.is_empty() || !end.is_finite() || end < at {
                return Err(wrong());
            }
            let phone = Phone { name: name.to_owned(), start: at, end };
            at = end;
            Ok(phone)
        })
        .collect()
}

impl Phone {
    /// When the lips are together, seconds: all of an m, a p or b until its burst. `None` for other phones.
    pub fn closure(&self) -> Option<(f64, f64)> {
        let share = match self.name.as_str() {
            "p" => 0.65,
            "b" => 0.75,
            "m" => 1.0,
            _ => return None,
        };
        Some((self.start, self.start + share * (self.end - self.start)))
    }

    /// Vowels with spread lips.
    pub fn is_spread(&self) -> bool {
        matches!(self.name.as_str(), "iy" | "ih" | "ey" | "eh")
    }

    /// Vowels (and w) with rounded lips.
    pub fn is_rounded(&self) -> bool {
        matches!(self.name.as_str(), "uw" | "uh" | "ow" | "ao" | "w")
    }

    /// Vowels with a mouth that is clearly open.
    pub fn is_open(&self) -> bool {
        matches!(self.name.as_str(), "aa" | "ae" | "ah" | "ay" | "aw" | "eh")
    }

    /// A pause.
    pub fn is_silence(&self) -> bool {
        matches!(self.name.as_str(), "pau" | "sil" | "h#" | "#")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_times_are_read_and_follow_each_other() {
        let phones = parse("pau:0.193 b:0.224 aa:0.417 b:0.465 \n").unwrap();
        let names: Vec<&str> = phones.iter().map(|phone| phone.name.as_str()).collect();
        assert_eq!(names, ["pau", "b", "aa", "b"]);
        assert_eq!((phones[2].start, phones[2].end), (0.224, 0.417));
        assert!(phones[0].is_silence() && phones[2].is_open());
        let (start, end) = phones[1].closure().unwrap();
        assert!(start == 0.193 && end > start && end < 0.224);
    }

    #[test]
    fn other_output_is_refused_with_the_piece_that_is_wrong() {
        for (printed, piece) in
            [("pau:0.2 oops", "oops"), ("a:x", "a:x"), ("a:0.5 b:0.4", "b:0.4"), (":1", ":1")]
        {
            match parse(printed) {
                Err(PhoneError::Output { found }) => assert_eq!(found, piece),
                other => panic!("{printed}: {other:?}"),
            }
        }
    }

    #[test]
    fn sentences_become_one() {
        assert_eq!(one_sentence("Hello.  Who\nare you? "), "Hello, Who are you.");
    }

    #[test]
    fn flite_speaks_and_tells_when_or_is_said_to_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let audio = folder.path().join("spoken.wav");
        match speak("Bob met Mary. My baby moved!", "slt", &audio) {
            Ok(spoken) => {
                let closures = spoken.phones.iter().filter(|phone| phone.closure().is_some()).count();
                assert_eq!(closures, 8);
                // 16-bit samples after a header of 44 bytes; the last phone ends with the sound.
                let samples = (std::fs::metadata(&spoken.audio).unwrap().len() - 44) / 2;
                let end = spoken.phones.last().unwrap().end;
                assert!((samples as f64 / 16_000.0 - end).abs() < 0.02);
            }
            Err(PhoneError::Missing) => assert!(!audio.exists()),
            Err(other) => panic!("{other}"),
        }
    }
}
