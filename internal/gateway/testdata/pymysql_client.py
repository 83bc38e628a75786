"""Drives an address with PyMySQL as it comes (autocommit off), for the gateway's tests.

corpus: run statements and print what came back.   load: insert, read and commit until standard input ends.
"""
import datetime
import decimal
import sys
import threading

import pymysql

mode, host, port, user, password, name = sys.argv[1:7]


def connect(**more):
    return pymysql.connect(host=host, port=int(port), user=user, password=password, database="gw", **more)


def corpus():
    c = connect()
    cur = c.cursor()

    def show(sql, args=None):
        try:
            n = cur.execute(sql, args)
            print(sql[:60].strip(), "->", n, cur.lastrowid, [d[:6] for d in cur.description or []])
            while True:
                print("   ", cur.fetchall())
                if not cur.nextset():
                    break
        except pymysql.Error as e:
            print(sql[:60].strip(), "-> error", e.args)

    show("DROP TABLE IF EXISTS py")
    show("CREATE TABLE py (id INT PRIMARY KEY AUTO_INCREMENT, s VARCHAR(100), d DECIMAL(20,5), t DATETIME, b BLOB, j JSON)")
    show("INSERT INTO py (s, d, t, b) VALUES (%s, %s, %s, %s)", ("ü🍣'\"\\", decimal.Decimal("1.5"), datetime.datetime(2026, 11, 21, 8, 9, 10), bytes(range(256))))
    show("INSERT INTO py (s) VALUES (%s)", (None,))
    print(cur.executemany("INSERT INTO py (s, d) VALUES (%s, %s)", [("x%d" % i, i) for i in range(500)]))
    show("SELECT * FROM py ORDER BY id LIMIT 3")
    show("SELECT COUNT(*), SUM(d) FROM py")
    c.rollback()
    show("SELECT COUNT(*) FROM py")
    show("INSERT INTO py (s) VALUES ('kept')")
    c.commit()
    show("SELECT s FROM py")
    show("SELECT nothing FROM py")
    show("DROP PROCEDURE IF EXISTS pyp")
    show("CREATE PROCEDURE pyp() BEGIN SELECT 1; SELECT 2, 3; END")
    show("CALL pyp()")
    show("SELECT REPEAT('a', 100000)")
    show("SELECT %s", ("b" * 300000,))
    c.ping(reconnect=False)
    c.select_db("gw")
    c.autocommit(True)
    show("SELECT @@autocommit, DATABASE()")
    with connect(client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS, charset="latin1", init_command="SET @i = 7") as c2:
        cur = c2.cursor()
        show("SELECT 1; SELECT @i, @@character_set_client; SET @i = 8")
    cur = c.cursor(pymysql.cursors.SSCursor)
    cur.execute("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) SELECT n FROM s")
    print(sum(r[0] for r in cur))
    cur = c.cursor()
    show("DROP PROCEDURE pyp")
    show("DROP TABLE py")
    c.close()


def load():
    stop = threading.Event()
    failed = []
    said = threading.Lock()

    def work(w):
        try:
            c = connect()
            cur = c.cursor()
            cur.execute("SET @mine = %s", (w,))
            n = 0
            while not stop.is_set():
                key = "%s-py-%d-%d" % (name, w, n)
                cur.execute("INSERT INTO writes (k, worker, n) VALUES (%s, %s, %s)", (key, w, n))
                cur.execute("SELECT COUNT(*), @mine FROM writes WHERE k = %s", (key,))
                if cur.fetchone() != (1, w):
                    raise Exception("the row or the variable is not there")
                c.commit()
                with said:
                    print(key, flush=True)
                n += 1
            c.close()
        except Exception as e:  # the test looks for it
            failed.append("worker %d: %r" % (w, e))

    threads = [threading.Thread(target=work, args=(w,)) for w in range(3)]
    for t in threads:
        t.start()
    sys.stdin.read()
    stop.set()
    for t in threads:
        t.join()
    if failed:
        sys.exit("\n".join(failed))


{"corpus": corpus, "load": load}[mode]()
