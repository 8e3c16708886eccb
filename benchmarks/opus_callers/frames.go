package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// readFrames gives the Opus frames of a file, 20 ms each: two bytes of length, little-endian, then the frame.
func readFrames(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var frames [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.LittleEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s ends within frame %d", path, len(frames))
		}
		size := int(binary.LittleEndian.Uint16(data))
		frames = append(frames, data[2:2+size])
		data = data[2+size:]
	}
	if len(frames) == 0 {
		return nil, errors.New(path + " has no frames")
	}
	return frames, nil
}
