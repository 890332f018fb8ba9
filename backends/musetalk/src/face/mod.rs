//! Where the face is: landmarks, detection, boxes, parsing.
