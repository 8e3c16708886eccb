package main

import "time"

const (
	// clockRate is that of Opus in RTP, Hz.
	clockRate = 48000
	// frameTime is what one packet of LiveKit's clients holds.
	frameTime = 20 * time.Millisecond
	// pauseBytes is the most that a packet of silence holds, of which DTX sends one now and again.
	pauseBytes = 2
	// buffered is how much sound a receiver gathers before it plays the first packet after a pause.
	buffered = 60 * time.Millisecond
)

// playout is a receiver's buffer without its decoder: it plays a packet when its time has come, and has to make
// up sound for as long as a packet comes late, and for those that never come. What follows is played this much
// later, up to the next pause, where the buffer starts anew.
type playout struct {
	heard    time.Duration // speech that came
	madeUp   time.Duration // sound that came too late to be played in time, or never
	playing  bool
	sequence uint16
	stamp    uint32
	due      time.Time // when the packet with this stamp is played
}

// take counts one packet; it says whether it is speech.
func (p *playout) take(sequence uint16, stamp uint32, size int, at time.Time) bool {
	if size <= pauseBytes {
		p.playing = false
		return false
	}
	p.heard += frameTime
	if !p.playing {
		p.playing, p.sequence, p.stamp, p.due = true, sequence, stamp, at.Add(buffered)
		return true
	}
	missed := int16(sequence - p.sequence)
	if missed <= 0 { // sent again, or overtaken: its place was made up already
		return true
	}
	p.madeUp += time.Duration(missed-1) * frameTime
	p.due = p.due.Add(time.Duration(int32(stamp-p.stamp)) * time.Second / clockRate)
	p.sequence, p.stamp = sequence, stamp
	if late := at.Sub(p.due); late > 0 {
		p.madeUp += late
		p.due = at
	}
	return true
}

// reset forgets what was counted, not what is being played.
func (p *playout) reset() {
	p.heard, p.madeUp = 0, 0
}
