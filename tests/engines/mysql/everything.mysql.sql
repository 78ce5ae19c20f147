CREATE TABLE hidden (id int NOT NULL, secret int DEFAULT '5' /*!80023 INVISIBLE */, t varchar(5) DEFAULT (uuid()), PRIMARY KEY (id),
  KEY unseen (secret) /*!80000 INVISIBLE */, KEY functional ((id + secret)), KEY down (id DESC)) ENGINE=InnoDB;
INSERT INTO hidden (id, secret, t) VALUES (1, 2, 'x'), (2, 3, 'y');
CREATE TABLE multi (id int NOT NULL, body json DEFAULT NULL, PRIMARY KEY (id), KEY tags ((CAST(body->'$.tags' AS unsigned ARRAY)))) ENGINE=InnoDB;
INSERT INTO multi VALUES (1, '{"tags": [1, 2]}');
CREATE TABLE ai_ci (id int NOT NULL, t varchar(10) COLLATE utf8mb4_0900_ai_ci DEFAULT NULL, PRIMARY KEY (id)) ENGINE=InnoDB;
INSERT INTO ai_ci VALUES (1,'é');
CREATE TABLE located (id int NOT NULL, p point NOT NULL /*!80003 SRID 4326 */, PRIMARY KEY (id), SPATIAL KEY p (p)) ENGINE=InnoDB;
INSERT INTO located VALUES (1, ST_GeomFromText('POINT(48.85 2.35)', 4326));
