BEGIN TRANSACTION;
CREATE TABLE migration (number INTEGER PRIMARY KEY, applied BIGINT NOT NULL);
INSERT INTO "migration" VALUES(1,1795462561312916);
CREATE TABLE run (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            host TEXT NOT NULL,
            id TEXT NOT NULL,
            task BIGINT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
            trigger TEXT NOT NULL,
            due BIGINT,
            began BIGINT NOT NULL,
            ended BIGINT NOT NULL,
            result TEXT NOT NULL,
            exit_status INTEGER,
            signal INTEGER,
            error TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            cpu_seconds DOUBLE PRECISION,
            peak_memory_bytes BIGINT,
            build TEXT NOT NULL,
            UNIQUE (host, id)
        );
INSERT INTO "run" VALUES(1,'workshop','00000000000000000000000000000001',1,'timer',1795435200000000,1795435260000000,1795435261000000,'succeeded',0,NULL,'',1,0.25,8589934592,'a1b2');
INSERT INTO "run" VALUES(2,'workshop','00000000000000000000000000000002',1,'timer',NULL,1795435320000000,1795435321000000,'failed',1,NULL,'it''s \ broken
計',3,NULL,NULL,'');
INSERT INTO "run" VALUES(3,'workshop','00000000000000000000000000000003',1,'catch-up',NULL,1795435380000000,1795435381000000,'killed',NULL,9,'',1,NULL,NULL,'');
INSERT INTO "run" VALUES(4,'workshop','00000000000000000000000000000004',2,'manual',NULL,1795435440000000,1795435441000000,'succeeded',NULL,NULL,'',1,NULL,NULL,'');
CREATE TABLE task (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            task_id TEXT NOT NULL UNIQUE,
            host TEXT NOT NULL,
            slug TEXT NOT NULL,
            name TEXT NOT NULL,
            description TEXT NOT NULL,
            schedule TEXT NOT NULL,
            build TEXT NOT NULL,
            last_execution BIGINT,
            is_disabled BOOLEAN NOT NULL DEFAULT FALSE,
            is_error BOOLEAN NOT NULL DEFAULT FALSE,
            error_txt TEXT NOT NULL DEFAULT '',
            UNIQUE (host, slug)
        );
INSERT INTO "task" VALUES(1,'0b6c6a1e-8e0e-4f4e-9c53-3c6e6f6d2a01','workshop','ping','ping','pings 計時; it''s 100% \ odd
lines','{"form": {"interval": 1, "kind": "period", "units": "minutes"}, "policy": {}, "v": 1}','a1b2',1795435380000000,0,0,'');
INSERT INTO "task" VALUES(2,'0b6c6a1e-8e0e-4f4e-9c53-3c6e6f6d2a02','workshop','my-backup','My Backup','a task','{"form": {"kind": "wallclock", "last_day": false, "month_days": [], "times": ["21:30"], "weekdays": [0, 1, 2, 3, 4]}, "policy": {"delay": 5, "timezone": "Africa/Nairobi", "tries": 3}, "v": 1}','a1b2',1795435440000000,1,1,'it broke');
CREATE INDEX run_of_task ON run (task, began, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('task',3);
INSERT INTO "sqlite_sequence" VALUES('run',4);
COMMIT;
