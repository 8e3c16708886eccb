package main

import (
	"testing"
	"time"
)

// arrival is one packet of a track: speech, unless its size says otherwise.
type arrival struct {
	sequence uint16
	frame    uint32 // of 20 ms, counted from the first
	size     int
	at       time.Duration
}

func played(arrivals []arrival) playout {
	var p playout
	start := time.Unix(0, 0)
	for _, one := range arrivals {
		p.take(one.sequence, one.frame*clockRate/50, one.size, start.Add(one.at))
	}
	return p
}

func TestPlayout(t *testing.T) {
	const ms = time.Millisecond
	for claim, one := range map[string]struct {
		arrivals      []arrival
		heard, madeUp time.Duration
	}{
		"packets that come in time are heard and nothing is made up": {
			[]arrival{{1, 0, 80, 0}, {2, 1, 80, 20 * ms}, {3, 2, 80, 40 * ms}}, 60 * ms, 0,
		},
		"a delay within the buffer is not heard": {
			[]arrival{{1, 0, 80, 0}, {2, 1, 80, 75 * ms}}, 40 * ms, 0,
		},
		"a delay beyond the buffer is made up for, and what follows is played that much later": {
			[]arrival{{1, 0, 80, 0}, {2, 1, 80, 180 * ms}, {3, 2, 80, 200 * ms}, {4, 3, 80, 220 * ms}}, 80 * ms, 100 * ms,
		},
		"a packet that never came is made up": {
			[]arrival{{1, 0, 80, 0}, {3, 2, 80, 40 * ms}}, 40 * ms, 20 * ms,
		},
		"a pause is no delay, and silence is not heard": {
			[]arrival{{1, 0, 80, 0}, {2, 1, 1, 20 * ms}, {3, 50, 80, 2000 * ms}}, 40 * ms, 0,
		},
		"a packet that comes twice counts once as late": {
			[]arrival{{1, 0, 80, 0}, {2, 1, 80, 20 * ms}, {1, 0, 80, 900 * ms}}, 60 * ms, 0,
		},
		"sequence numbers begin again after 65535": {
			[]arrival{{65535, 0, 80, 0}, {0, 1, 80, 20 * ms}}, 40 * ms, 0,
		},
	} {
		t.Run(claim, func(t *testing.T) {
			p := played(one.arrivals)
			if p.heard != one.heard || p.madeUp != one.madeUp {
				t.Errorf("heard %v, made up %v; wanted %v, %v", p.heard, p.madeUp, one.heard, one.madeUp)
			}
		})
	}
}
