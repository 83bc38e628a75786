// Package name says how files of captured statements are called, in a gateway's spool and in a bucket, so that both sides agree and the
// gateway needs nothing of a bucket.
//
// The model: a gateway's run writes files one after the other, numbered from 1 without holes. In the spool a file is
//
//	GATEWAY/RUN/INDEX-NANOS.wlcap
//
// and has ".part" behind that while it grows; its writer holds an exclusive flock on it meanwhile. In the bucket it is
//
//	GATEWAY/DAY/HOUR/NANOS-RUN-INDEX.wlcap
//
// so that a minute is found by listing an hour. Numbers have a fixed width: names sort as the files began.
package name

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What names end in.
const (
	Ended   = ".wlcap"
	Growing = ".wlcap.part"
)

const (
	day  = "2006-01-02"
	hour = "15"
)

// File is one file of captured statements.
type File struct {
	Gateway string
	Run     uint64    // of the gateway's process
	Index   uint64    // of the file in its run, from 1 without holes
	Began   time.Time // by the gateway's clock, to the nanosecond
}

// Spool is its path in a spool when it has ended.
func (f File) Spool() string { return f.stem() + Ended }

// Growing is its path in a spool while it is written.
func (f File) Growing() string { return f.stem() + Growing }

func (f File) stem() string {
	return fmt.Sprintf("%s/%016x/%010d-%019d", Folder(f.Gateway), f.Run, f.Index, f.Began.UnixNano())
}

// Bucket is its key in a bucket.
func (f File) Bucket() string {
	t := f.Began.UTC()
	return fmt.Sprintf("%s/%s/%019d-%016x-%010d%s", Folder(f.Gateway), t.Format(day+"/"+hour), t.UnixNano(), f.Run, f.Index, Ended)
}

// Folder is what a gateway's files lie in: its name, with what no file or key should have escaped as in a URL.
func Folder(gateway string) string {
	f := url.PathEscape(gateway)
	if strings.Trim(f, ".") == "" { // "..", which would leave the spool
		f = strings.ReplaceAll(f, ".", "%2E")
	}
	return f
}

// Gateway is the name that a folder is for.
func Gateway(folder string) (string, bool) {
	name, err := url.PathUnescape(folder)
	return name, err == nil && name != "" && Folder(name) == folder
}

// Parse reads the path of a file that has ended, in a spool or in a bucket.
func Parse(path string) (File, bool) {
	stem, ok := strings.CutSuffix(path, Ended)
	if !ok {
		return File{}, false
	}
	return parse(stem)
}

// ParseGrowing reads the path of a file in a spool that has not ended.
func ParseGrowing(path string) (File, bool) {
	stem, ok := strings.CutSuffix(path, Growing)
	if !ok {
		return File{}, false
	}
	return parse(stem)
}

func parse(stem string) (f File, ok bool) {
	parts := strings.Split(stem, "/")
	if f.Gateway, ok = Gateway(parts[0]); !ok {
		return File{}, false
	}
	var nanos int64
	switch len(parts) {
	case 3:
		index, at, found := strings.Cut(parts[2], "-")
		if !found || !number(parts[1], 16, 16, &f.Run) || !number(index, 10, 10, &f.Index) || !moment(at, &nanos) {
			return File{}, false
		}
	case 4:
		last := strings.Split(parts[3], "-")
		if len(last) != 3 || !moment(last[0], &nanos) || !number(last[1], 16, 16, &f.Run) || !number(last[2], 10, 10, &f.Index) {
			return File{}, false
		}
	default:
		return File{}, false
	}
	f.Began = time.Unix(0, nanos)
	if len(parts) == 4 && f.Bucket() != stem+Ended {
		return File{}, false // the folders say another hour
	}
	return f, true
}

func number(s string, width, base int, to *uint64) bool {
	if len(s) < width || strings.ToLower(s) != s || len(s) > width && s[0] == '0' {
		return false
	}
	n, err := strconv.ParseUint(s, base, 64)
	*to = n
	return err == nil
}

func moment(s string, to *int64) bool {
	var n uint64
	if !number(s, 19, 10, &n) || n > 1<<63-1 {
		return false
	}
	*to = int64(n)
	return true
}

// Day is the folder of a day in a bucket, and Hour that of an hour in it.
func Day(t time.Time) string { return t.UTC().Format(day) }

// Hour is the folder of an hour in that of its day.
func Hour(t time.Time) string { return t.UTC().Format(hour) }

// ParseDay gives the time at which a day's folder begins; false if it is none.
func ParseDay(folder string) (time.Time, bool) {
	t, err := time.Parse(day, folder)
	return t, err == nil
}

// ParseHour gives how far into its day an hour's folder begins; false if it is none.
func ParseHour(folder string) (time.Duration, bool) {
	t, err := time.Parse(hour, folder)
	return time.Duration(t.Hour()) * time.Hour, err == nil && len(folder) == 2
}

// ParseRun reads the folder of a run in a spool.
func ParseRun(folder string) (run uint64, ok bool) {
	return run, number(folder, 16, 16, &run) && len(folder) == 16
}
