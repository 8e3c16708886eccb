// Callers that cost little: they send Opus that was encoded beforehand, and decode nothing of what they hear.
//
// They say the same prepared sentence at a steady beat and count what arrives; nothing else, because they share
// the machine with what is measured. Told what to do line by line over stdin: "call URL TOKEN" (answered when an
// agent is heard, or was not within twelve seconds), "begin" and "report" around a stretch of time, "hang up".
// Each line is answered with one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// hearWithin is how long a caller waits for an agent's first sound.
const hearWithin = 12 * time.Second

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: opus_callers FRAMES, a file of one beat's frames, each after its length in two bytes")
		os.Exit(2)
	}
	frames, err := readFrames(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	calls := newCalls(frames)
	go calls.speak()
	answers := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := answers.Encode(calls.do(strings.Fields(lines.Text()))); err != nil {
			return
		}
	}
}
