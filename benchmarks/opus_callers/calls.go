package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	// keepAlive is how many frames of silence pass for each one that is sent, as WebRTC does with DTX.
	keepAlive = 20
	// apart is how many frames a caller speaks after the one before: they do not speak in chorus.
	apart = 35
)

// calls are all callers; one clock speaks for them all.
type calls struct {
	frames [][]byte
	mutex  sync.Mutex
	all    []*call
}

// call is one caller in one room.
type call struct {
	room     *lksdk.Room
	track    *lksdk.LocalTrack
	at       int // of the beat, the next frame
	packet   rtp.Packet
	mutex    sync.Mutex
	playout  playout
	heard    chan struct{}
	heardOne sync.Once
}

// answer is one line of JSON: what a command leaves out was not asked for.
type answer struct {
	Heard        *bool     `json:"heard,omitempty"`
	HeardSeconds []float64 `json:"heard_seconds,omitempty"`
	LateShare    *float64  `json:"late_share,omitempty"`
	Error        string    `json:"error,omitempty"`
}

func newCalls(frames [][]byte) *calls {
	return &calls{frames: frames}
}

// do is one command.
func (c *calls) do(words []string) answer {
	switch {
	case len(words) == 3 && words[0] == "call":
		one, err := c.join(words[1], words[2])
		if err != nil {
			return answer{Error: err.Error()}
		}
		heard := one.hears(hearWithin)
		return answer{Heard: &heard}
	case len(words) == 1 && words[0] == "begin":
		for _, one := range c.list() {
			one.begin()
		}
		return answer{}
	case len(words) == 1 && words[0] == "report":
		return c.report()
	case len(words) == 2 && words[0] == "hang" && words[1] == "up":
		for _, one := range c.list() {
			one.room.Disconnect()
		}
		c.mutex.Lock()
		c.all = nil
		c.mutex.Unlock()
		return answer{}
	}
	return answer{Error: fmt.Sprintf("no such command: %d words", len(words))}
}

// join connects one caller more, with a microphone.
func (c *calls) join(url, token string) (*call, error) {
	one := &call{heard: make(chan struct{})}
	callback := lksdk.NewRoomCallback()
	callback.OnTrackSubscribed = func(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
		if track.Kind() == webrtc.RTPCodecTypeAudio {
			go one.listen(track)
		}
	}
	quiet := lksdk.WithLogger(logger.GetDiscardLogger())
	opus := []livekit.Codec{{Mime: webrtc.MimeTypeOpus}} // no RED: each packet holds one frame
	room, err := lksdk.ConnectToRoomWithToken(url, token, callback, lksdk.WithCodecs(opus), quiet)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	one.room = room
	one.track, err = lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: clockRate, Channels: 2})
	if err == nil {
		options := &lksdk.TrackPublicationOptions{Name: "microphone", Source: livekit.TrackSource_MICROPHONE}
		_, err = room.LocalParticipant.PublishTrack(one.track, options)
	}
	if err != nil {
		room.Disconnect()
		return nil, fmt.Errorf("publishing: %w", err)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	one.at = len(c.all) * apart % len(c.frames)
	c.all = append(c.all, one)
	return one, nil
}

// speak sends one frame of each caller every 20 ms, for ever.
func (c *calls) speak() {
	for range time.Tick(frameTime) {
		for _, one := range c.list() {
			one.say(c.frames)
		}
	}
}

func (c *calls) list() []*call {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]*call(nil), c.all...)
}

func (c *calls) report() answer {
	var heard []float64
	var speech, madeUp time.Duration
	for _, one := range c.list() {
		one.mutex.Lock()
		heard = append(heard, one.playout.heard.Seconds())
		speech += one.playout.heard
		madeUp += one.playout.madeUp
		one.mutex.Unlock()
	}
	late := 0.0
	if speech > 0 {
		late = madeUp.Seconds() / speech.Seconds()
	}
	return answer{HeardSeconds: heard, LateShare: &late}
}

// say sends the next frame of the beat, or lets it pass when it is silence.
func (c *call) say(frames [][]byte) {
	frame := frames[c.at]
	c.at = (c.at + 1) % len(frames)
	c.packet.Timestamp += clockRate / 50
	if len(frame) <= pauseBytes && c.at%keepAlive != 0 {
		return
	}
	c.packet.Version = 2
	c.packet.SequenceNumber++
	c.packet.Payload = frame
	_ = c.track.WriteRTP(&c.packet, nil) // a room that is over hears nothing more
}

// listen counts the packets of one track until it ends.
func (c *call) listen(track *webrtc.TrackRemote) {
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		now := time.Now()
		c.mutex.Lock()
		speech := c.playout.take(packet.SequenceNumber, packet.Timestamp, len(packet.Payload), now)
		c.mutex.Unlock()
		if speech {
			c.heardOne.Do(func() { close(c.heard) })
		}
	}
}

// hears waits for the agent's first sound; whether it came.
func (c *call) hears(within time.Duration) bool {
	select {
	case <-c.heard:
		return true
	case <-time.After(within):
		return false
	}
}

// begin counts from now on.
func (c *call) begin() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.playout.reset()
}
