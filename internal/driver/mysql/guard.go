package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// guardName has the version of the procedure's meaning, so that two releases of Windlass can use one server.
const guardName = "act_v1"

// tables are made on every server, unlogged.
var tables = []string{
	"CREATE DATABASE IF NOT EXISTS windlass",
	"CREATE TABLE IF NOT EXISTS windlass.fence (id TINYINT NOT NULL PRIMARY KEY, term BIGINT NOT NULL) ENGINE=InnoDB",
	"INSERT IGNORE INTO windlass.fence VALUES (1, 0)",
	"CREATE TABLE IF NOT EXISTS windlass.standing (id TINYINT NOT NULL PRIMARY KEY, uuid VARCHAR(64) NOT NULL, role VARCHAR(16) NOT NULL, term BIGINT NOT NULL, switch_id VARCHAR(200) NOT NULL, detail LONGTEXT NOT NULL, at_us BIGINT NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4",
}

// The procedure: lock, compare, do, unlock; one call. own says that the statement writes our own tables, which MySQL's
// super_read_only would refuse: the procedure lifts that for the one statement, read_only stays. A lost
// connection gives the lock back.
const guardHead = `PROCEDURE windlass.` + guardName + `(IN given BIGINT, IN patience INT, IN own TINYINT, IN stmt LONGTEXT)
MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'runs a statement if the term is not fenced'
BEGIN
  DECLARE seen BIGINT DEFAULT NULL;
  DECLARE logged INT DEFAULT @@SESSION.sql_log_bin;
  DECLARE super INT DEFAULT 0;
  DECLARE told VARCHAR(128);
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    IF super THEN ` + "%[2]s" + `; END IF;
    DO RELEASE_LOCK('windlass.act');
    RESIGNAL;
  END;
  IF COALESCE(GET_LOCK('windlass.act', patience), 0) <> 1 THEN
    SIGNAL SQLSTATE 'WL002' SET MYSQL_ERRNO = 31002, MESSAGE_TEXT = 'windlass: another act is under way';
  END IF;
  SELECT term INTO seen FROM windlass.fence WHERE id = 1;
  IF seen IS NULL OR seen > given THEN
    SET told = CONCAT('windlass: term ', given, ' is fenced by term ', COALESCE(seen, '(none)'));
    SIGNAL SQLSTATE 'WL001' SET MYSQL_ERRNO = 31001, MESSAGE_TEXT = told;
  END IF;
  IF seen < given OR own THEN
    SET super = ` + "%[1]s" + `;
    IF super THEN SET GLOBAL super_read_only = 0; END IF;
    IF seen < given THEN
      SET SESSION sql_log_bin = 0;
      UPDATE windlass.fence SET term = given WHERE id = 1;
      SET SESSION sql_log_bin = logged;
    END IF;
  END IF;
  IF own OR NOT super THEN
    SET @windlass_stmt = stmt;
    PREPARE windlass_stmt FROM @windlass_stmt;
    EXECUTE windlass_stmt;
    DEALLOCATE PREPARE windlass_stmt;
  END IF;
  IF super THEN
    ` + "%[2]s" + `;
    SET super = 0;
    IF NOT own THEN
      SET @windlass_stmt = stmt;
      PREPARE windlass_stmt FROM @windlass_stmt;
      EXECUTE windlass_stmt;
      DEALLOCATE PREPARE windlass_stmt;
    END IF;
  END IF;
  SET @windlass_stmt = NULL;
  DO RELEASE_LOCK('windlass.act');
END`

func (mariadb) install() []string {
	body := fmt.Sprintf(guardHead, "0", "DO 0")
	body = strings.Replace(body, "SET GLOBAL super_read_only = 0", "DO 0", 1)
	return append(append([]string{}, tables...), "CREATE OR REPLACE "+body)
}

func (mysqlFlavour) install() []string {
	body := fmt.Sprintf(guardHead, "@@GLOBAL.super_read_only", "SET GLOBAL super_read_only = 1")
	return append(append([]string{}, tables...), "DROP PROCEDURE IF EXISTS windlass."+guardName, "CREATE "+body)
}

// ensure makes the guard if the server does not have it.
func (s *session) ensure(ctx context.Context) error {
	if s.looks {
		return fmt.Errorf("%s: install the guard: %w", s.place, errLooks)
	}
	n := 0
	if err := s.one(ctx, "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA='windlass' AND ROUTINE_NAME='"+guardName+"'", &n); err != nil {
		return err
	}
	if n == 1 {
		return nil
	}
	super := 0
	if s.fl.name() == "mysql" {
		if err := s.one(ctx, "SELECT @@global.super_read_only", &super); err != nil {
			return err
		}
	}
	if super == 1 { // it refuses even unlogged writes; read_only stays on meanwhile
		if err := s.exec(ctx, "SET GLOBAL super_read_only=0"); err != nil {
			return err
		}
	}
	for _, stmt := range s.fl.install() {
		if err := s.exec(ctx, stmt); err != nil {
			return fmt.Errorf("install the guard: %w", err)
		}
	}
	if super == 1 {
		return s.exec(ctx, "SET GLOBAL super_read_only=1")
	}
	return nil
}

// patience is how long an act waits for another one on the same server, in seconds.
const patience = 2

// act runs one statement under the term, in one call that the server checks. what says in errors what it is for: the
// statement may hold a secret. An act whose answer is lost is settled before this returns: its connection is gone, and
// the caller reads what came of it; if that can't be had the error is ErrUnsettled.
func (s *session) act(ctx context.Context, term int64, what, stmt string) error {
	return s.actFor(ctx, s.d.cfg.Query, term, what, stmt, false)
}

// limits are those of one act.
type limits struct {
	patience int           // how long it waits for another act on the same server, in seconds
	answer   time.Duration // how long its answer is waited for beside that
	settle   time.Duration // how long an act whose answer is lost may take to be ended
}

// actOwn is act for a statement that writes our own tables.
func (s *session) actOwn(ctx context.Context, term int64, what, stmt string) error {
	return s.actFor(ctx, s.d.cfg.Query, term, what, stmt, true)
}

func (s *session) actFor(ctx context.Context, limit time.Duration, term int64, what, stmt string, own bool) error {
	return s.actWithin(ctx, limits{patience: patience, answer: limit, settle: s.d.cfg.Dial + s.d.cfg.Query}, term, what, stmt, own)
}

func (s *session) actWithin(ctx context.Context, l limits, term int64, what, stmt string, own bool) error {
	if s.lost {
		return fmt.Errorf("%s: %s: %w", s.place, what, errLost)
	}
	if s.looks {
		return fmt.Errorf("%s: %s: %w", s.place, what, errLooks)
	}
	call, cancel := context.WithTimeout(ctx, l.answer+time.Duration(l.patience)*time.Second)
	defer cancel()
	_, err := s.conn.ExecContext(call, "CALL windlass."+guardName+"(?, ?, ?, ?)", term, l.patience, own, stmt)
	if err == nil {
		return nil
	}
	if answered(err) {
		return fmt.Errorf("%s: %s: %w", s.place, what, translate(err))
	}
	s.lost = true
	// The statement may still run on the server. Our context may be over: settling has one of its own.
	fresh, stop := context.WithTimeout(context.WithoutCancel(ctx), l.settle)
	defer stop()
	if serr := s.d.settle(fresh, s.place, s.id); serr != nil {
		return fmt.Errorf("%s: %s: %w: %w (%w)", s.place, what, ErrUnsettled, err, serr)
	}
	return fmt.Errorf("%s: %s: %w", s.place, what, err)
}

var (
	errLost  = errors.New("the connection is lost")
	errLooks = errors.New("the connection was opened to look: a successor would not end it")
)

// settle ends a connection of ours whose statement may still run, and sees it gone.
func (d *Driver) settle(ctx context.Context, p place, id uint64) error {
	s, err := d.dialTo(ctx, p)
	if err != nil {
		return err
	}
	defer s.close()
	return s.end(ctx, id)
}
