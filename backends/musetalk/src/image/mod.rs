//! Picture arithmetic that equals OpenCV 4.9 and Pillow 10.4 byte for byte.
