"""What answers `mmcv._ext` where mmcv has no compiled one: the finder, and mmcv's operators."""
