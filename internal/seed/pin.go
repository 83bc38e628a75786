package seed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/windlass-db/windlass/internal/wire"
)

// pin holds the primary's binary logs from a position on (trap 33). It is a reader of the log that does not read: the
// server never deletes a log file that a reader is in. It changes no setting, and ends with its connection, so with us.
//
// What fits into the two sockets' buffers is sent before the reader stands still; a log file smaller than
// that may be left behind. That is why served is asked at the end as well.
type pin struct{ c *wire.Backend }

func (p *pin) release() {
	if p != nil && p.c != nil {
		p.c.Close()
	}
}

const (
	cmdQuery      = 0x03
	cmdBinlogDump = 0x12
)

// pinAt begins to read the log at the position. A primary that has purged it says so here.
func (j *job) pinAt(ctx context.Context, position string) (_ *pin, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("hold the binary logs of %s from %q on: %w", j.primary.Node.Name, position, err)
		}
	}()
	cfg, err := j.cfg.Access(ctx, j.primary.Node)
	if err != nil {
		return nil, err
	}
	d := wire.Dial{Address: cfg.Addr, User: cfg.User, Passwords: []string{cfg.Passwd}, Charset: 45, MaxPacket: 1 << 24, TLSMode: wire.TLSOff, Limit: 1 << 24}
	if cfg.TLS != nil {
		d.TLSMode, d.TLS = wire.TLSVerifyFull, cfg.TLS
		if cfg.TLS.InsecureSkipVerify {
			d.TLSMode = wire.TLSRequired
		}
	}
	c, err := d.Connect(ctx)
	if err != nil {
		return nil, err
	}
	release := c.Bound(ctx)
	defer func() {
		if cut := release(); cut != nil && err == nil {
			err = cut
		}
		if err != nil {
			c.Close()
		}
	}()
	if t, ok := c.Net().(*net.TCPConn); ok {
		if err := t.SetReadBuffer(4 << 10); err != nil {
			return nil, err
		}
	}
	if err := j.f.read(c, position); err != nil {
		if errors.Is(err, errTagged) { // it is asked at the end whether all is still there
			j.log.Warn("the primary's logs are not held while the data is copied", "err", err)
			c.Close()
			return nil, nil
		}
		return nil, err
	}
	return &pin{c}, nil
}

// command sends one command and reads the first packet of its answer.
func command(c *wire.Backend, payload []byte) error {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	c.Seq = 0
	if err := c.WritePacket(payload); err != nil {
		return err
	}
	answer, err := c.ReadPacket()
	if err != nil {
		return err
	}
	if len(answer) > 0 && answer[0] == 0xFF {
		refused, err := wire.ParseERR(answer)
		if err != nil {
			return err
		}
		return refused
	}
	return c.SetDeadline(time.Time{})
}
