"""The reference's own steps, with its own libraries: OpenCV 4.9, Pillow 10.4 and ``transformers``.

Written from the description of MuseTalk 1.5's real-time script (commit 0a89dec), in its order of calls.
Pictures are BGR, as OpenCV reads them, where nothing else is said.
"""
