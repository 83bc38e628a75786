package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// refusal is an answer, or a lack of one, with what follows from it.
type refusal struct {
	err       error
	wrong     bool          // a mistake of the configuration: no waiting will mend it
	malformed bool          // the message itself is not liked
	after     time.Duration // wait that long; 0: as the backoff says
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = time.Hour

// newClient makes a client whose every wait has a bound. The bound of the whole request is its context's.
func newClient() *http.Client {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:           4,
		MaxConnsPerHost:        2,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	return &http.Client{Transport: t, CheckRedirect: sameHost}
}

var errRedirect = errors.New("it redirects to another host, or in another way than 307 and 308; that is not followed, because the message is meant for the configured receiver alone")

// sameHost follows redirects that keep the method and the body, on one host.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > 3 || req.Method != http.MethodPost || req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		return errRedirect
	}
	return nil
}

// post sends a message, and tells what came of it: nil, or a *refusal whose text holds no secret.
func (s *sink) post(ctx context.Context, m message) error {
	to, err := s.cfg.endpoint()
	if err != nil {
		return &refusal{err: err, wrong: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(to.raw), bytes.NewReader(m.body))
	if err != nil {
		return &refusal{err: errors.New("the URL can't be asked"), wrong: true}
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "windlass")
	if s.cfg.Type == TypeWebhook {
		sign(req.Header, m, to.key, s.now())
	}
	begin := time.Now()
	resp, err := s.client.Do(req)
	s.n.count.seconds.WithLabelValues(s.cfg.Name).Observe(time.Since(begin).Seconds())
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return &refusal{err: errors.New(to.hide(err.Error())), wrong: errors.Is(err, errRedirect)}
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what it says besides is for people
	return judge(resp, to.hide(oneLine(string(said), 200)), s.now())
}

// judge tells what an answer means.
func judge(resp *http.Response, said string, now time.Time) error {
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	r := &refusal{err: fmt.Errorf("the receiver answers %d %s", code, http.StatusText(code))}
	if said != "" {
		r.err = fmt.Errorf("%w: %s", r.err, said)
	}
	switch {
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		r.after = retryAfter(resp.Header.Get("Retry-After"), now)
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code >= 500:
	default:
		r.wrong = true
		r.malformed = code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge || code == http.StatusUnprocessableEntity
	}
	return r
}

// retryAfter reads seconds or a date. What makes no sense is 0.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		d = time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// sign adds the headers of the Standard Webhooks.
func sign(h http.Header, m message, key []byte, now time.Time) {
	at := strconv.FormatInt(now.Unix(), 10)
	h.Set("webhook-id", m.id)
	h.Set("webhook-timestamp", at)
	if key == nil {
		return
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", m.id, at)
	mac.Write(m.body)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
