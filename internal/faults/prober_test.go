package faults

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// prober asks both servers for read_only every few milliseconds, on connections of its own. They are the driver's, without
// a pool: in a test of many minutes its questions are half of all that the servers are asked.
type prober struct {
	servers []*probed // blue's and green's; first the one that was last seen read-only
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu    sync.Mutex
	looks int
	both  []string // when two writable primaries were seen
}

const (
	probeEvery   = 5 * time.Millisecond
	probePatient = time.Second // for one answer
)

func newProber(addresses ...string) (*prober, error) {
	ctx, stop := context.WithCancel(context.Background())
	p := &prober{stop: stop}
	for _, address := range addresses {
		cfg := mysql.NewConfig()
		cfg.Net, cfg.Addr, cfg.User, cfg.Passwd = "tcp", address, processtest.AdminUser, processtest.AdminPassword
		cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout, cfg.Logger = probePatient, probePatient, probePatient, &mysql.NopLogger{}
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			stop()
			return nil, err
		}
		p.servers = append(p.servers, &probed{connector: connector})
	}
	p.done.Go(func() {
		t := time.NewTicker(probeEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.look()
			case <-ctx.Done():
				for _, s := range p.servers {
					s.leave()
				}
				return
			}
		}
	})
	return p, nil
}

// look sees two primaries if one was writable before and after the other was. One that is demoted between two questions
// is not mistaken for a second one. The one that was last seen read-only is asked first: mostly it still is, and that
// answer is enough.
func (p *prober) look() {
	one, other := p.servers[0], p.servers[1]
	both := false
	if one.writable() {
		if both = other.writable() && one.writable(); !both {
			p.servers[0], p.servers[1] = other, one
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	if both {
		p.both = append(p.both, time.Now().Format("15:04:05.000"))
	}
}

// verdict is an error if two writable primaries were ever seen.
func (p *prober) verdict() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.both) > 0 {
		return fmt.Errorf("two writable primaries were seen %d times, first at %s", len(p.both), p.both[0])
	}
	return nil
}

func (p *prober) end() { p.stop(); p.done.Wait() }

// probed is one server and the connection to it, if there is one.
type probed struct {
	connector driver.Connector
	conn      driver.Conn
}

// writable asks the server. One that can't be asked is not seen writable; it is asked on a new connection the next time.
func (s *probed) writable() bool {
	if s.conn == nil {
		ctx, cancel := context.WithTimeout(context.Background(), probePatient)
		defer cancel()
		c, err := s.connector.Connect(ctx)
		if err != nil {
			return false
		}
		s.conn = c
	}
	readOnly, err := s.ask()
	if err != nil {
		s.leave()
		return false
	}
	return readOnly == "0"
}

func (s *probed) ask() (string, error) {
	rows, err := s.conn.(driver.QueryerContext).QueryContext(context.Background(), "SELECT @@global.read_only", nil)
	if err != nil {
		return "", err
	}
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s", row[0])
	if b, ok := row[0].(int64); ok {
		text = fmt.Sprint(b)
	}
	if err := rows.Next(row); err != io.EOF {
		return "", fmt.Errorf("more than one row: %w", err)
	}
	return text, rows.Close()
}

func (s *probed) leave() {
	if s.conn != nil {
		_ = s.conn.Close() // a server that is gone has closed it
		s.conn = nil
	}
}
